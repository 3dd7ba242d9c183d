import attrs
from hypothesis import given, settings

from kraftlet_trio.mapping.command_line import command_line
from kraftlet_trio.mapping.environment import Environment
from tests import strategies


@settings(max_examples=30)
@given(strategies.pods())
def test_args_are_command_then_args_in_order(pod):
    for container in pod.spec.containers:
        marked = attrs.evolve(
            container,
            command=tuple(f"c{n}" for n, _ in enumerate(container.command)),
            args=tuple(f"a{n}" for n, _ in enumerate(container.args)),
        )
        line = command_line(marked, None, Environment({}))
        assert line == ((*marked.command, *marked.args) or None)
