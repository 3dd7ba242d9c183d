import json

import pytest

from kraftlet_trio.cloud.objects import PluginRequest
from kraftlet_trio.kubernetes.objects import ConfigMap, ObjectMeta
from kraftlet_trio.kubernetes.pod import (
    Container,
    ExecAction,
    HTTPGetAction,
    Lifecycle,
    LifecycleHandler,
    Probe,
)
from kraftlet_trio.mapping.annotations import ContainerOptions, PluginList, PodDefaults, PodOptions
from kraftlet_trio.mapping.plugins import (
    Plugins,
    counts_for_sleep,
    plugin_references,
    plugins_of,
)
from kraftlet_trio.mapping.problems import ConfigurationProblem
from tests.builders import a_container

TRACER = {"name": "tracer", "image": "me/tracer:1", "config": {"level": [1, None]}}
SANDBOX = PluginRequest(name="sandbox", image="plugins/sandbox:latest", config={})
EXEC = ExecAction(command=("true",))


def options(key: str | None = None, **fields) -> PodOptions:
    """Of a Pod whose container app has the plugins that ConfigMap tools lists."""
    of_app = ContainerOptions(plugins=PluginList("tools", key))
    return PodOptions(of_containers={"app": of_app}, **fields)


def listing(*plugins: object, key: str = "plugins.json", **others: str) -> ConfigMap:
    data = {key: json.dumps(plugins), **others}
    return ConfigMap(metadata=ObjectMeta(name="tools"), data=data)


def attached(
    *plugins: object, container: Container | None = None, asked: PodOptions | None = None
) -> Plugins:
    return plugins_of(container or a_container(), asked or options(), listing(*plugins))


def refusal(config_map: ConfigMap | None, key: str | None = None) -> str:
    with pytest.raises(ConfigurationProblem) as caught:
        plugins_of(a_container(), options(key), config_map)
    assert caught.value.reason == "InvalidPlugins"
    return caught.value.message


def test_plugins_are_those_of_the_config_map():
    old = {"name": "old", "rom": "me/old:1"}
    assert attached(TRACER, old) == Plugins(
        (
            PluginRequest(name="tracer", image="me/tracer:1", config={"level": [1, None]}),
            PluginRequest(name="old", image="me/old:1"),
        )
    )
    assert attached() == Plugins()


def test_a_container_without_a_list_refers_to_no_config_map():
    assert plugin_references(options(), a_container()) == {"tools"}
    assert plugin_references(options(), a_container("side")) == frozenset()
    assert plugins_of(a_container("side"), options(), None) == Plugins()


def test_the_list_is_under_its_usual_key_or_the_named_one_or_the_only_one():
    tracer = attached(TRACER)
    assert plugins_of(a_container(), options(), listing(TRACER, other="[]")) == tracer
    assert plugins_of(a_container(), options("b"), listing(TRACER, key="b", other="")) == tracer
    assert plugins_of(a_container(), options(), listing(TRACER, key="anything")) == tracer
    assert "tools/<key>" in refusal(listing(TRACER, key="a", b="[]"))
    assert 'no key "c"' in refusal(listing(TRACER), key="c")
    assert "has 0 keys" in refusal(ConfigMap())


def test_without_the_config_map_nothing_is_made():
    assert "ConfigMap tools, which should list plugins, does not exist" in refusal(None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "is not JSON"),
        ("{}", "is no array"),
        ("[NaN]", "is not JSON"),
        ("[[]]", "plugin 1"),
        ('[{"image": "a"}]', "its name is no text"),
        ('[{"name": "a.b", "image": "a"}]', 'its name is "a.b"'),
        ('[{"name": "' + "a" * 64 + '", "image": "a"}]', "1 to 63 letters"),
        ('[{"name": "a"}]', "a has 0 images"),
        ('[{"name": "a", "image": "a", "rom": "a"}]', "a has 2 images"),
        ('[{"name": "a", "image": " "}]', "image of a"),
        ('[{"name": "a", "image": {}}]', "image of a is no text"),
        ('[{"name": "a", "image": "a", "conf": 1}]', '"conf" is no field of it'),
        ('[{"name": "a", "image": "a"}, {"name": "a", "image": "b"}]', "plugin 2"),
        (json.dumps([{"name": f"p{number}", "image": "a"} for number in range(9)]), "at most 8"),
        (
            '[{"name": "a", "image": "a", "config": ' + "[" * 500 + "]" * 500 + "}]",
            "nested too deeply",
        ),
    ],
)
def test_a_list_that_the_platform_would_refuse_is_refused_with_the_cure(text, said):
    message = refusal(ConfigMap(data={"plugins.json": text}))
    assert said in message
    assert 'key "plugins.json" of ConfigMap tools' in message
    assert "; " in message


@pytest.mark.parametrize(
    "container",
    [
        a_container(startup_probe=Probe(exec=EXEC)),
        a_container(liveness_probe=Probe(exec=EXEC)),
        a_container(readiness_probe=Probe(exec=EXEC)),
        a_container(lifecycle=Lifecycle(post_start=LifecycleHandler(exec=EXEC))),
        a_container(lifecycle=Lifecycle(pre_stop=LifecycleHandler(exec=EXEC))),
    ],
)
def test_probes_and_hooks_that_execute_bring_the_sandbox(container):
    assert plugins_of(container, PodOptions(), None) == Plugins(added=(SANDBOX,))


def test_other_probes_and_hooks_do_not():
    get = HTTPGetAction(port=80)
    container = a_container(
        liveness_probe=Probe(http_get=get),
        lifecycle=Lifecycle(pre_stop=LifecycleHandler(http_get=get)),
    )
    assert plugins_of(container, PodOptions(), None) == Plugins()


def test_exec_brings_the_sandbox_of_the_nodes_choice():
    defaults = PodDefaults(exec_plugin_image="mine/sandbox:2")
    plugins = plugins_of(a_container(), PodOptions(enable_exec=True, defaults=defaults), None)
    assert plugins.requests == (PluginRequest(name="sandbox", image="mine/sandbox:2", config={}),)


def test_a_listed_sandbox_is_the_one():
    own = {"name": "sandbox", "image": "mine/sandbox:3"}
    plugins = attached(own, asked=options(enable_exec=True))
    assert plugins.requests == (PluginRequest(name="sandbox", image="mine/sandbox:3"),)
    assert plugins.added == ()


def test_the_sandbox_needs_a_place_among_the_eight():
    seven = [{"name": f"p{number}", "image": "a"} for number in range(7)]
    assert len(attached(*seven, asked=options(enable_exec=True)).requests) == 8
    with pytest.raises(ConfigurationProblem, match="needs one more to execute commands"):
        attached(*seven, TRACER, asked=options(enable_exec=True))


def test_only_listed_plugins_count_as_a_way_to_wake():
    assert counts_for_sleep(attached(TRACER))
    assert counts_for_sleep(attached({"name": "sandbox", "image": "plugins/sandbox"}))
    assert not counts_for_sleep(Plugins(added=(SANDBOX,)))
    assert not counts_for_sleep(Plugins())
