"""Environments as running instances have them, and Pods that wait for what they refer to."""

from __future__ import annotations

import trio

from tests.manifests import a_config_map, a_container, a_pod, a_service


def variable(name, **source):
    return {"name": name, "valueFrom": source}


def plain(name, value):
    return {"name": name, "value": value}


def from_settings(name, key, **more):
    return variable(name, configMapKeyRef={"name": "settings", "key": key, **more})


def field(name, path):
    return variable(name, fieldRef={"fieldPath": path})


def environment(world, instance="web-app"):
    return world.instances()[instance].env


def of_containers_own(world):
    """Without what tells of Services."""
    env = environment(world)
    return {name: env[name] for name in env if not name.startswith("KUBERNETES_")}


async def test_late_config_map_heals_within_a_second(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", a_container(env=[from_settings("LEVEL", "level")])))
    await world.eventually(lambda: world.waits_for() == "CreateContainerConfigError")
    assert world.events("MandatoryConfigMapNotFound")
    # Long enough for a back-off of minutes.
    await trio.sleep(1800)
    assert not world.instances()
    world.apply(a_config_map(level="high"))
    await world.eventually(world.instances, seconds=1.0, every=0.05)
    assert of_containers_own(world) == {"LEVEL": "high"}


async def test_late_key_heals_within_a_second(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_config_map(other="x"))
    world.apply(a_pod("web", a_container(env=[from_settings("LEVEL", "level")])))
    await world.eventually(lambda: world.events("MandatoryConfigMapKeyNotFound"))
    await trio.sleep(600)
    world.cluster.change(
        "configmaps", "settings", lambda value: {**value, "data": {"level": "high"}}
    )
    await world.eventually(world.instances, seconds=1.0, every=0.05)


async def test_config_maps_are_watched_by_name_only(autojump_clock, world):
    await world.start_daemon()
    container = a_container(env=[from_settings("LEVEL", "level")])
    world.apply(a_pod("web", container, automountServiceAccountToken=False))
    await world.eventually(lambda: world.waits_for() == "CreateContainerConfigError")
    asked = world.requests("GET", "/api/v1/.*(configmaps|secrets)")
    assert {dict(request.query)["fieldSelector"] for request in asked} == {"metadata.name=settings"}


async def test_what_is_optional_is_left_out_and_told(autojump_clock, world):
    await world.start_daemon()
    gone = {"name": "gone", "optional": True}
    world.apply(
        a_config_map(level="high"),
        a_pod(
            "web",
            a_container(
                envFrom=[{"configMapRef": gone}, {"secretRef": gone}],
                env=[from_settings("LEVEL", "no", optional=True), plain("NEXT", "[$(LEVEL)]")],
            ),
        ),
    )
    await world.eventually(world.is_ready)
    assert of_containers_own(world) == {"NEXT": "[$(LEVEL)]"}
    for reason in ("ConfigMapNotFound", "SecretNotFound", "ConfigMapKeyNotFound"):
        assert world.events(f"Optional{reason}")


async def test_variables_build_on_those_before_them(autojump_clock, world):
    await world.start_daemon()
    world.apply(
        a_config_map(A="1", B="2"),
        a_pod(
            "web",
            a_container(
                envFrom=[{"prefix": "S_", "configMapRef": {"name": "settings"}}],
                env=[
                    plain("S_B", "$(S_A)$(S_B)"),
                    plain("C", "$(S_B)-$$(S_B)-$(D)"),
                    field("D", "metadata.name"),
                    plain("E", "$(D).$(C)"),
                ],
                args=["--name=$(E)"],
                command=["serve"],
            ),
        ),
    )
    await world.eventually(world.is_ready)
    assert of_containers_own(world) == {
        "S_A": "1",
        "S_B": "12",
        "C": "12-$(S_B)-$(D)",
        "D": "web",
        "E": "web.12-$(S_B)-$(D)",
    }
    assert world.instances()["web-app"].args == ("serve", "--name=web.12-$(S_B)-$(D)")


async def test_fields_and_resources_of_the_pod(autojump_clock, world):
    await world.start_daemon()
    resources = {"limits": {"memory": "200M", "cpu": "500m"}}
    selector = {"resource": "limits.memory", "divisor": "1Mi"}
    world.apply(
        a_pod(
            "web",
            a_container(
                resources=resources,
                env=[
                    field("NODE", "spec.nodeName"),
                    field("ACCOUNT", "spec.serviceAccountName"),
                    field("HOST", "status.hostIP"),
                    field("LABEL", "metadata.labels['app']"),
                    variable("MEMORY", resourceFieldRef=selector),
                    variable("CPU", resourceFieldRef={"resource": "limits.cpu", "divisor": "1m"}),
                ],
            ),
        )
    )
    await world.eventually(world.is_ready)
    assert of_containers_own(world) == {
        "NODE": "kraftlet",
        "ACCOUNT": "default",
        "HOST": "192.0.2.1",
        "LABEL": "web",
        "MEMORY": "191",
        "CPU": "500",
    }


async def test_pod_learns_its_address_before_it_first_runs(autojump_clock, world):
    await world.start_daemon()
    world.apply(
        a_pod(
            "web",
            a_container(env=[field("IP", "status.podIP"), plain("URL", "http://$(IP):80")]),
        )
    )
    await world.eventually(world.is_ready)
    address = world.pod()["status"]["podIP"]
    assert of_containers_own(world) == {"IP": address, "URL": f"http://{address}:80"}
    assert world.instances()["web-app"].start_count == 1


async def test_services_of_the_namespace_are_told_unless_links_are_off(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service("my-db", {5432: 5432}))
    address = world.cluster.get("services", "my-db")["spec"]["clusterIP"]
    url = plain("URL", "$(MY_DB_SERVICE_HOST):$(MY_DB_SERVICE_PORT)")
    world.apply(
        a_pod("web", a_container(env=[url])),
        a_pod("lone", a_container(env=[url]), enableServiceLinks=False),
    )
    await world.eventually(lambda: world.are_ready(2))
    linked, alone = environment(world), environment(world, "lone-app")
    assert linked["URL"] == f"{address}:5432"
    assert linked["MY_DB_PORT_5432_TCP_ADDR"] == address
    assert alone["URL"] == "$(MY_DB_SERVICE_HOST):$(MY_DB_SERVICE_PORT)"
    assert not [name for name in alone if name.startswith("MY_DB")]
    master = world.cluster.get("services", "kubernetes")["spec"]["clusterIP"]
    assert linked["KUBERNETES_SERVICE_HOST"] == alone["KUBERNETES_SERVICE_HOST"] == master
