import pytest

from kraftlet_trio.cloud.objects import ScaleToZero
from kraftlet_trio.kubernetes.objects import ObjectMeta
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.mapping.annotations import (
    ContainerOptions,
    PluginList,
    PodDefaults,
    PodOptions,
    Refresh,
    pod_options,
)
from tests.builders import a_pod, a_sidecar

PREFIX = "cloud.unikraft.v1.instances/"
USUAL_SLEEP = ScaleToZero(policy="on", stateful=False, cooldown_time_ms=1000)


def options_of(
    annotations: dict[str, str] | None = None,
    defaults: PodDefaults = PodDefaults(),  # noqa: B008 (immutable)
) -> PodOptions:
    """Of a Pod with the containers app and side, the sidecar proxy and the init container setup."""
    keys = {PREFIX + key: value for key, value in (annotations or {}).items()}
    pod = a_pod(containers=["app", "side"], init=["setup", a_sidecar()], annotations=keys)
    return pod_options(pod, defaults)


def test_a_pod_without_annotations_starts_and_sleeps_after_a_second():
    options = options_of()
    assert options.autostart
    assert not options.enable_exec
    assert not options.strict
    assert options.refresh is Refresh.OFF
    assert options.ignored == frozenset()
    for container in ("app", "side", "proxy", "setup"):
        assert options.of(container) == ContainerOptions(
            template=None, plugins=None, scale_to_zero=USUAL_SLEEP
        )
    assert options.problems == options.blocking == ()


def test_all_annotations_of_a_pod():
    options = options_of(
        {
            "autostart": "false",
            "ignore": "side, proxy,",
            "enable-exec": "true",
            "refresh": "next-start",
            "strict": "1",
            "template": "warm",
            "plugins": "tools/extra.json",
            "scale_to_zero.policy": "idle",
            "scale_to_zero.stateful": "true",
            "scale_to_zero.cooldown_time_ms": "500",
            "scale_to_zero.notify_time_ms": "100",
        }
    )
    assert not options.autostart
    assert options.ignored == {"side", "proxy"}
    assert options.enable_exec
    assert options.refresh is Refresh.NEXT_START
    assert options.strict
    assert options.of("app") == ContainerOptions(
        template="warm",
        plugins=PluginList("tools", "extra.json"),
        scale_to_zero=ScaleToZero(
            policy="idle", stateful=True, cooldown_time_ms=500, notify_time_ms=100
        ),
    )
    assert options.problems == options.blocking == ()


def test_a_container_may_have_options_of_its_own():
    options = options_of(
        {
            "template": "warm",
            "template.side": "hot",
            "plugins": "tools",
            "plugins.side": "others",
            "scale_to_zero.policy": "idle",
            "scale_to_zero.policy.side": "off",
            "scale_to_zero.cooldown_time_ms.side": "9000",
        }
    )
    app, side = options.of("app"), options.of("side")
    assert (app.template, side.template) == ("warm", "hot")
    assert (app.plugins, side.plugins) == (PluginList("tools"), PluginList("others"))
    assert (app.scale_to_zero.policy, side.scale_to_zero.policy) == ("idle", "off")
    assert side.scale_to_zero.cooldown_time_ms == 9000
    assert options.problems == options.blocking == ()


def test_the_template_of_a_pod_is_not_for_what_runs_before_or_beside_it():
    options = options_of({"template": "warm", "plugins": "tools"})
    assert options.of("proxy") == ContainerOptions(plugins=PluginList("tools"))
    assert options.of("setup") == ContainerOptions()
    assert options_of({"template.proxy": "mesh"}).of("proxy").template == "mesh"


def test_a_node_has_defaults_of_its_own():
    sleep = ScaleToZero(policy="off", stateful=True, cooldown_time_ms=600_000)
    defaults = PodDefaults(scale_to_zero=sleep, enable_exec=True)
    options = options_of({"scale_to_zero.policy": "on", "autostart": "1"}, defaults)
    assert options.defaults is defaults
    assert options.enable_exec
    assert options.of("setup").scale_to_zero == sleep
    assert options.of("app").scale_to_zero == ScaleToZero(
        policy="on", stateful=True, cooldown_time_ms=600_000
    )
    assert not options_of({"enable-exec": "false"}, defaults).enable_exec


@pytest.mark.parametrize("text", ["false", "False", "F", "0", " f "])
def test_no_in_many_spellings(text):
    assert not options_of({"autostart": text}).autostart


@pytest.mark.parametrize(
    ("key", "value", "used"),
    [
        ("autostart", "yes", '"true" is used'),
        ("enable-exec", "on", '"false" is used'),
        ("strict", "very", '"false" is used'),
        ("refresh", "always", '"off" is used; write "off", "next-start" or "restart"'),
        ("scale_to_zero.stateful", "on", '"false" is used'),
        ("scale_to_zero.policy", "true", '"on" is used'),
        ("scale_to_zero.policy.app", "true", '"on" is used'),
        ("scale_to_zero.cooldown_time_ms", "-1", '"1000" is used'),
        ("scale_to_zero.cooldown_time_ms", "1s", '"1000" is used'),
        ("scale_to_zero.cooldown_time_ms", "1_000", '"1000" is used'),
        ("scale_to_zero.cooldown_time_ms", "9999999999", '"1000" is used'),
        ("scale_to_zero.notify_time_ms", "1000", "write less than the cooldown, which is 1000"),
        ("scale-to-zero.policy", "off", "no such annotation"),
        ("scale_to_zero.policy.nobody", "off", "no such annotation"),
        ("ignored", "sidecar", "no such annotation"),
        ("plugins-url", "x", "no such annotation"),
    ],
)
def test_an_annotation_without_effect_is_reported_with_its_cure(key, value, used):
    options = options_of({key: value})
    [problem] = options.problems
    assert problem.key == PREFIX + key
    assert problem.value == value
    assert f'"{value}" has no effect; ' in problem.message
    assert used in problem.cure
    assert options.blocking == ()
    assert [options.of(name) for name in ("app", "side")] == [ContainerOptions()] * 2


@pytest.mark.parametrize(
    ("key", "value", "item", "cure"),
    [
        ("template", "not a name", "not a name", "name of an instance template"),
        ("template.nobody", "warm", "warm", '"nobody" is none of the containers'),
        ("template.setup", "warm", "warm", "app, proxy, side"),
        ("plugins", "Not A Name", "Not A Name", "<ConfigMap>/<key>"),
        ("plugins", "tools/", "tools/", "<ConfigMap>/<key>"),
        ("plugins", "tools/a/b", "tools/a/b", "<ConfigMap>/<key>"),
        ("plugins.nobody", "tools", "tools", '"nobody" is none of the containers'),
        ("ignore", "app, nobody", "nobody", "app, proxy, side"),
        ("ignore", "setup", "setup", "app, proxy, side"),
    ],
)
def test_nothing_runs_while_it_is_unclear_what(key, value, item, cure):
    options = options_of({key: value})
    [problem] = options.blocking
    assert (problem.key, problem.value) == (PREFIX + key, item)
    assert f'"{item}" cannot be followed; ' in problem.message
    assert cure in problem.cure
    assert options.problems == ()


def test_a_shorter_cooldown_of_one_container_ends_the_notice_it_inherits():
    options = options_of(
        {
            "scale_to_zero.notify_time_ms": "500",
            "scale_to_zero.cooldown_time_ms.side": "500",
        }
    )
    assert options.of("app").scale_to_zero.notify_time_ms == 500
    assert options.of("side").scale_to_zero.notify_time_ms is None
    assert options.problems == ()


@pytest.mark.parametrize("key", ["service-groups", "fqdns", "plugins.p.url", "plugins.app.p.url"])
def test_what_the_daemon_writes_is_no_slip_of_the_pen(key):
    options = options_of({key: "anything"})
    assert options.problems == options.blocking == ()


def test_other_peoples_annotations_are_left_alone():
    pod = Pod(metadata=ObjectMeta(annotations={"example.com/autostart": "never"}))
    assert pod_options(pod) == PodOptions()
