import pytest

from kraftlet_trio.kubernetes.pod import Container
from kraftlet_trio.mapping.command_line import command_line, needs_image_config
from kraftlet_trio.mapping.environment import MOST_CHARACTERS, Environment
from kraftlet_trio.mapping.problems import ConfigurationProblem
from kraftlet_trio.registry.objects import ImageConfig

CONFIG = ImageConfig(entrypoint=("/entry", "-x"), cmd=("serve",))
NOTHING = Environment({})


def container(*, command=(), args=()) -> Container:
    return Container(name="app", image="app:1", command=tuple(command), args=tuple(args))


@pytest.mark.parametrize(
    ("command", "args", "line"),
    [
        ((), (), None),
        (("run",), (), ("run",)),
        (("run",), ("fast",), ("run", "fast")),
        ((), ("fast",), ("/entry", "-x", "fast")),
    ],
)
def test_the_four_cases_of_command_and_args(command, args, line):
    assert command_line(container(command=command, args=args), CONFIG, NOTHING) == line


def test_args_alone_are_all_there_is_where_the_image_is_unknown():
    assert command_line(container(args=["fast"]), None, NOTHING) == ("fast",)


def test_args_alone_need_the_image_and_nothing_else_does():
    assert needs_image_config(container(args=["fast"]))
    assert not needs_image_config(container())
    assert not needs_image_config(container(command=["run"]))
    assert not needs_image_config(container(command=["run"], args=["fast"]))


def test_references_are_replaced_in_what_the_pod_says_only():
    environment = Environment({"PORT": "80"})
    config = ImageConfig(entrypoint=("$(PORT)",))
    line = command_line(container(args=["-p", "$(PORT)", "$$(PORT)"]), config, environment)
    assert line == ("$(PORT)", "-p", "80", "$(PORT)")


@pytest.mark.parametrize("entrypoint", [(), ("e" * 10,)])
def test_too_long_a_line_is_refused(entrypoint):
    config = ImageConfig(entrypoint=entrypoint)
    longest = MOST_CHARACTERS - sum(map(len, entrypoint))
    command_line(container(args=["a" * longest]), config, NOTHING)
    with pytest.raises(ConfigurationProblem, match="shorten them"):
        command_line(container(args=["a" * longest, "b"]), config, NOTHING)
