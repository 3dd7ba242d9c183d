"""What annotations of Pods and Services make of instances and groups, seen in the cloud."""

from __future__ import annotations

import json

import pytest
import trio

from tests.manifests import a_config_map, a_container, a_pod, a_service

PODS = "cloud.unikraft.v1.instances/"
SERVICES = "cloud.unikraft.v1.services/"
SIDE = a_container("side", ports=[9090])


def of_pod(annotations):
    return {PODS + key: text for key, text in annotations.items()}


def of_service(annotations):
    return {SERVICES + key: text for key, text in annotations.items()}


def noted(world, name="web"):
    """What the daemon wrote on the Pod, but for its service groups."""
    annotations = world.pod(name)["metadata"].get("annotations", {})
    return {
        key.removeprefix(PODS): text
        for key, text in annotations.items()
        if key.endswith((".url", "/fqdns"))
    }


def annotate(world, kind, name, annotations):
    def changed(value):
        value["metadata"].setdefault("annotations", {}).update(annotations)
        return value

    world.cluster.change(kind, name, changed)


# Containers that are none of the node's business


async def test_ignored_container_gets_nothing_and_holds_nothing_up(autojump_clock, world):
    await world.start_daemon()
    pod = a_pod("web", a_container(ports=[8080]), SIDE, annotations=of_pod({"ignore": "side"}))
    world.apply(a_service("web", {443: 8080, 9090: 9090}), pod)
    await world.eventually(world.is_ready)
    assert set(world.instances()) == {"web-app"}
    assert world.members() == {"web": {"web-app"}}
    assert world.published() == {"web": {443: 8080, 9090: 9090}}
    assert "running" in world.container("side")["state"]
    assert world.container("side")["ready"]
    await world.check_quiet(seconds=60)
    world.kill_daemon()
    await world.start_daemon()
    world.delete(pod)
    await world.eventually(lambda: not world.pods())
    assert world.is_empty()


async def test_pod_that_ignores_nobody_it_has_waits_until_it_is_put_right(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", annotations=of_pod({"ignore": "istio-proxy"})))
    await world.eventually(lambda: world.waits_for() == "CreateContainerConfigError")
    assert '"istio-proxy"' in world.container()["state"]["waiting"]["message"]
    assert not world.instances()
    annotate(world, "pods", "web", of_pod({"ignore": ""}))
    await world.eventually(world.is_ready)


# Templates


async def make_template(world, name="warm"):
    uuid = await world.make_foreign_instance(name, image="template:1", args=["/warm"])
    await world.as_account_owner("POST", "/v1/instances/templates", [{"uuid": uuid}])
    world.monitor.foreign.discard(name)


async def test_container_with_a_template_is_made_from_it(autojump_clock, world):
    await make_template(world)
    await world.start_daemon()
    pod = a_pod(
        "web",
        a_container(ports=[8080], command=["/other"], env=[{"name": "A", "value": "1"}]),
        SIDE,
        annotations=of_pod({"template.app": "warm"}),
    )
    world.apply(a_service("web"), pod)
    await world.eventually(world.is_ready)
    app, side = (world.instances()[name] for name in ("web-app", "web-side"))
    assert app.image.repository.endswith("template")
    assert app.args == ("/warm",)
    assert app.service_group is world.groups()["web-app"]
    assert app.scale_to_zero.policy == "on"
    assert side.image.repository.endswith("nginx")
    await world.check_quiet(seconds=60)


async def test_missing_template_is_told_and_waited_for(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", annotations=of_pod({"template": "warm"})))
    await world.eventually(lambda: world.waits_for() == "CreateContainerError")
    await make_template(world)
    await world.eventually(world.is_ready, seconds=400)


# Plugins


TRACER = {"name": "tracer", "rom": "me/tracer:1", "config": {"level": 3}}


def plugins(*listed, key="plugins.json"):
    return a_config_map("tools", **{key: json.dumps(listed)})


async def test_listed_plugins_are_attached_and_their_addresses_noted(autojump_clock, world):
    await world.start_daemon()
    pod = a_pod("web", a_container(), annotations=of_pod({"plugins": "tools"}))
    world.apply(plugins(TRACER), pod)
    await world.eventually(world.is_ready)
    instance = world.instances()["web-app"]
    assert [(one["name"], one["image"], one["config"]) for one in instance.plugins] == [
        ("tracer", "me/tracer:1", {"level": 3})
    ]
    assert instance.service_group is None
    assert instance.scale_to_zero.policy == "on"
    address = f"http://cloud.test/v1/instances/{instance.uuid}/plugins/tracer"
    await world.eventually(lambda: noted(world) == {"plugins.tracer.url": address})
    await world.check_quiet(seconds=60)


async def test_lists_by_container_have_addresses_by_container(autojump_clock, world):
    await world.start_daemon()
    asked = of_pod({"plugins.side": "tools/extra"})
    world.apply(plugins(TRACER, key="extra"), a_pod("web", a_container(), SIDE, annotations=asked))
    await world.eventually(world.is_ready)
    assert not world.instances()["web-app"].plugins
    await world.eventually(lambda: list(noted(world)) == ["plugins.side.tracer.url"])


async def test_list_of_plugins_that_comes_late_or_is_put_right_is_taken_up(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", a_container(), annotations=of_pod({"plugins": "tools"})))
    await world.eventually(lambda: world.waits_for() == "CreateContainerConfigError")
    assert "ConfigMap tools" in world.container()["state"]["waiting"]["message"]
    world.apply(plugins({**TRACER, "name": "no name"}))
    await world.eventually(
        lambda: '"no name"' in world.container()["state"]["waiting"].get("message", "")
    )
    world.cluster.change("configmaps", "tools", lambda value: {**value, **plugins(TRACER)})
    await world.eventually(world.is_ready)


async def test_plugin_that_executes_comes_on_demand_and_puts_nothing_to_sleep(
    autojump_clock, world
):
    await world.start_daemon()
    world.apply(a_pod("web", a_container(), annotations=of_pod({"enable-exec": "true"})))
    world.apply(a_pod("plain", a_container()))
    await world.eventually(lambda: world.are_ready(2))
    instance = world.instances()["web-app"]
    assert [one["name"] for one in instance.plugins] == ["sandbox"]
    assert instance.scale_to_zero.policy == "off"
    assert not world.instances()["plain-app"].plugins


async def test_names_of_instances_are_noted_where_the_node_is_to_do_so(autojump_clock, world):
    await world.start_daemon(enable_instance_fqdn_annotations="true", enable_exec="true")
    world.apply(a_service("web", annotations=of_service({"domain": "shop"})), a_pod())
    await world.eventually(world.is_ready)
    await world.eventually(lambda: set(noted(world)) == {"fqdns", "plugins.sandbox.url"})
    names = json.loads(noted(world)["fqdns"])
    assert names["app"]["serviceFqdn"] == f"shop.{world.cloud.account.zone}"
    assert names["app"]["privateFqdn"].endswith(".internal")


# Sizes and sleep


async def test_defaults_of_the_node_hold_where_a_pod_says_nothing(autojump_clock, world):
    await world.start_daemon(
        default_memory="512Mi", scale_to_zero_policy="idle", scale_to_zero_cooldown="10m"
    )
    world.apply(a_service("web"), a_pod())
    await world.eventually(world.is_ready)
    instance = world.instances()["web-app"]
    assert instance.memory_mb == 512
    assert instance.scale_to_zero.policy == "idle"
    assert instance.scale_to_zero.cooldown_time_ms == 600_000


async def test_each_container_sleeps_as_its_own_annotations_say(autojump_clock, world):
    await world.start_daemon()
    asked = of_pod(
        {
            "scale_to_zero.cooldown_time_ms": "5000",
            "scale_to_zero.notify_time_ms": "200",
            "scale_to_zero.policy.side": "off",
        }
    )
    pod = a_pod("web", a_container(ports=[8080]), SIDE, annotations=asked)
    world.apply(a_service("web", {443: 8080, 9090: 9090}), pod)
    await world.eventually(world.is_ready)
    app, side = (world.instances()[name].scale_to_zero for name in ("web-app", "web-side"))
    assert (app.policy, app.cooldown_time_ms, app.notify_time_ms) == ("on", 5000, 200)
    assert side.policy == "off"


# Services


async def test_redirect_limits_and_domains_are_there_from_the_start(autojump_clock, world):
    await world.start_daemon()
    asked = of_service(
        {
            "redirect": "true",
            "soft_limit": "20",
            "hard_limit": "40",
            "domain": "shop, www.example.com",
        }
    )
    world.apply(a_service("web", annotations=asked), a_pod())
    await world.eventually(world.is_ready)
    group = world.groups()["web"]
    assert {port.port: (port.destination_port, port.handlers) for port in group.services} == {
        80: (443, ("http", "redirect")),
        443: (8080, ("tls", "http")),
    }
    assert (group.soft_limit, group.hard_limit) == (20, 40)
    assert set(group.domains) == {f"shop.{world.cloud.account.zone}", "www.example.com"}
    assert not world.requests("PATCH", "/v1/services")
    await world.check_quiet(seconds=60)


@pytest.mark.parametrize(
    "walk", [[("9", "10"), ("100", "200"), ("1", "5")], [("50", ""), ("", "7"), ("", "")]]
)
async def test_edited_limits_and_redirects_reach_the_group_in_place(autojump_clock, world, walk):
    await world.start_daemon()
    world.apply(a_service("web"), a_pod())
    await world.eventually(world.is_ready)
    group = world.groups()["web"]
    for soft, hard in walk:
        asked = of_service({"soft_limit": soft, "hard_limit": hard, "redirect": "true"})
        annotate(world, "services", "web", asked)
        wanted = (int(soft or 1), int(hard or 65535))
        await world.eventually(lambda: (group.soft_limit, group.hard_limit) == wanted)  # noqa: B023
        assert world.published() == {"web": {80: 443, 443: 8080}}
    annotate(world, "services", "web", of_service({"redirect": "false"}))
    await world.eventually(lambda: world.published() == {"web": {443: 8080}})
    assert world.groups()["web"] is group
    assert world.container()["restartCount"] == 0
    await world.check_quiet(seconds=60)


async def test_group_is_updated_only_where_it_differs(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service("web", annotations=of_service({"soft_limit": "5"})), a_pod())
    await world.eventually(world.is_ready)
    annotate(world, "services", "web", {"example.com/note": "new"})
    annotate(world, "services", "web", of_service({"soft_limit": "05", "hard_limit": "65535"}))
    world.kill_daemon()
    await world.start_daemon()
    await trio.sleep(30)
    assert not world.requests("PATCH", "/v1/services")


async def test_annotation_of_a_service_that_cannot_be_followed_is_told(autojump_clock, world):
    await world.start_daemon()
    asked = of_service({"handlers.443": "tls", "soft_limit": "none"})
    world.apply(a_service("web", annotations=asked), a_pod())
    await world.eventually(world.is_ready)
    told = [event["message"] for event in world.events("InvalidAnnotation")]
    assert any("handlers.443" in text and '"tls, http"' in text for text in told)
    assert any("soft_limit" in text and '"1" is used' in text for text in told)


async def test_sidecar_is_published_behind_a_port_that_it_declares(autojump_clock, world):
    await world.start_daemon()
    proxy = a_container("proxy", ports=[8443], restartPolicy="Always")
    world.apply(
        a_service("web", {443: 8443, 80: 8080}),
        a_pod("web", a_container(ports=[8080]), init=(proxy,)),
    )
    await world.eventually(world.is_ready)
    assert world.members() == {"web": {"web-app"}, "web-proxy": {"web-proxy"}}
    assert world.published() == {"web": {80: 8080}, "web-proxy": {443: 8443}}
    await world.check_quiet(seconds=60)


# Edits while a Pod lives


async def test_container_no_longer_ignored_is_run(autojump_clock, world):
    await world.start_daemon()
    pod = a_pod("web", a_container(), SIDE, annotations=of_pod({"ignore": "side"}))
    world.apply(pod)
    await world.eventually(world.is_ready)
    annotate(world, "pods", "web", of_pod({"ignore": ""}))
    await world.eventually(lambda: set(world.instances()) == {"web-app", "web-side"})
    await world.eventually(world.is_ready)
    await world.check_quiet(seconds=60)


async def test_instance_that_may_start_after_all_is_started(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", a_container(), annotations=of_pod({"autostart": "false"})))
    await world.eventually(lambda: "web-app" in world.instances())
    await trio.sleep(30)
    assert not world.is_ready()
    annotate(world, "pods", "web", of_pod({"autostart": "true"}))
    await world.eventually(world.is_ready)


async def test_edited_sleep_is_taken_over_without_a_restart(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service("web"), a_pod())
    await world.eventually(world.is_ready)
    instance = world.instances()["web-app"]
    annotate(world, "pods", "web", of_pod({"scale_to_zero.cooldown_time_ms": "7000"}))
    await world.eventually(
        lambda: instance.updates or instance.scale_to_zero.cooldown_time_ms == 7000
    )
    assert world.container()["restartCount"] == 0
