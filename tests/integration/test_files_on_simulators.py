"""Files that containers mount: what they hold, when they change, and what keeps them from being."""

from __future__ import annotations

import base64

import pytest
import trio

from tests.manifests import a_config_map, a_container, a_pod

REFRESH = "cloud.unikraft.v1.instances/refresh"


def a_secret(name="keys", **data):
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}


def mounting(*volumes, at="/etc/app", annotations=None, mount=None, **fields):
    """A Pod whose container mounts *volumes*, the first one at *at*."""
    mounts = [
        {"name": volume["name"], "mountPath": at if number == 0 else f"/mnt/{number}"}
        for number, volume in enumerate(volumes)
    ]
    mounts[0] |= mount or {}
    fields = {"automountServiceAccountToken": False} | fields
    container = a_container(volumeMounts=mounts)
    return a_pod("web", container, volumes=list(volumes), annotations=annotations, **fields)


def settings_volume(**source):
    return {"name": "settings", "configMap": {"name": "settings", **source}}


def files(world, at="/etc/app", instance="web-app"):
    """Content by path of the ROM at *at*; None where there is none."""
    for rom in world.instances()[instance].roms:
        if rom.get("at") == at:
            return {
                one["path"]: base64.b64decode(one["data"]).decode()
                if one.get("encoding") == "base64"
                else one["data"]
                for one in rom["files"]
            }
    return None


async def test_each_kind_of_file_is_there(autojump_clock, world):
    await world.start_daemon()
    everything = {
        "name": "all",
        "projected": {
            "sources": [
                {"configMap": {"name": "settings", "items": [{"key": "a", "path": "conf/a.txt"}]}},
                {"secret": {"name": "keys"}},
                {
                    "downwardAPI": {
                        "items": [
                            {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
                            {
                                "path": "memory",
                                "resourceFieldRef": {
                                    "containerName": "app",
                                    "resource": "limits.memory",
                                    "divisor": "1Mi",
                                },
                            },
                        ]
                    }
                },
                {"serviceAccountToken": {"path": "token", "audience": "vault"}},
            ]
        },
    }
    world.apply(a_config_map(a="one", b="two"), a_secret(key="s3cret"), mounting(everything))
    await world.eventually(world.is_ready)
    found = files(world)
    token = found.pop("token")
    assert token.count(".") == 2
    assert found == {"conf/a.txt": "one", "key": "s3cret", "name": "web", "memory": "128"}


async def test_api_access_is_mounted_unless_it_is_switched_off(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", a_container()))
    await world.eventually(world.is_ready)
    at = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert set(files(world, at)) == {"token", "ca.crt", "namespace"}
    assert files(world, at)["namespace"] == "default"


async def test_missing_config_map_is_waited_for_and_seen_as_it_comes(autojump_clock, world):
    await world.start_daemon()
    world.apply(mounting(settings_volume()))
    await world.eventually(lambda: world.waits_for() == "CreateContainerConfigError")
    assert 'configmap "settings" not found' in world.container()["state"]["waiting"]["message"]
    assert world.events("FailedMount")
    await trio.sleep(100)
    assert not world.instances()
    world.apply(a_config_map(a="one"))
    await world.eventually(world.is_ready, seconds=1.5)
    assert files(world) == {"a": "one"}


async def test_missing_optional_object_is_an_event_and_no_files(autojump_clock, world):
    await world.start_daemon()
    world.apply(mounting(settings_volume(optional=True)))
    await world.eventually(world.is_ready)
    assert world.events("OptionalConfigMapNotFound")
    assert files(world) is None


async def test_sub_path_mounts_a_directory_or_a_single_file(autojump_clock, world):
    await world.start_daemon()
    items = [{"key": "a", "path": "conf/a.txt"}, {"key": "b", "path": "b.txt"}]
    volume = settings_volume(items=items)
    world.apply(a_config_map(a="one", b="two"), mounting(volume, mount={"subPath": "conf"}))
    await world.eventually(world.is_ready)
    assert files(world) == {"a.txt": "one"}
    world.delete(a_pod("web"), grace_seconds=0)
    await world.eventually(lambda: not world.pods())
    world.apply(mounting(volume, at="/etc/app/b.conf", mount={"subPath": "b.txt"}))
    await world.eventually(world.is_ready)
    assert files(world) == {"b.conf": "two"}
    assert world.events("SubPathHidesDirectory")


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        (mounting(settings_volume(), at="/a.txt", mount={"subPath": "a"}), "directory of its own"),
        (mounting(settings_volume(), mount={"subPath": "nowhere"}), "nothing at subPath"),
        (mounting(settings_volume(items=[{"key": "z", "path": "z"}])), "non-existent key"),
        (mounting({"name": "big", "configMap": {"name": "big"}}), "holds 17 files"),
    ],
)
async def test_what_cannot_be_mounted_is_told_with_its_cure(autojump_clock, world, pod, said):
    await world.start_daemon()
    many = {f"k{number}": "x" for number in range(17)}
    world.apply(a_config_map(a="one"), a_config_map("big", **many), pod)
    await world.eventually(lambda: world.waits_for() == "CreateContainerConfigError")
    assert said in world.container()["state"]["waiting"]["message"]
    assert not world.instances()


async def test_more_than_eight_mounts_are_refused(autojump_clock, world):
    await world.start_daemon()
    volumes = [{"name": f"v{one}", "configMap": {"name": "settings"}} for one in range(9)]
    world.apply(a_config_map(a="one"), mounting(*volumes))
    await world.eventually(lambda: world.waits_for() == "CreateContainerConfigError")
    assert "an instance takes 8" in world.container()["state"]["waiting"]["message"]


async def test_changed_files_reach_a_container_that_asks_for_it(autojump_clock, world):
    await world.start_daemon()
    world.apply(
        a_config_map(a="one"), mounting(settings_volume(), annotations={REFRESH: "restart"})
    )
    await world.eventually(world.is_ready)

    def change(value):
        value["data"] = {"a": "two"}
        return value

    world.cluster.change("configmaps", "settings", change)
    await world.eventually(lambda: world.container().get("restartCount") == 1, seconds=10)
    await world.eventually(world.is_ready)
    assert files(world) == {"a": "two"}
    await world.check_quiet()


async def test_token_is_renewed_before_it_expires(autojump_clock, world):
    await world.start_daemon()
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    volume = {"name": "token", "projected": {"sources": [source]}}
    world.apply(mounting(volume, annotations={REFRESH: "restart"}))
    await world.eventually(world.is_ready)
    first = files(world)["token"]
    await trio.sleep(0.7 * 3600)
    assert files(world)["token"] == first
    await trio.sleep(0.15 * 3600)
    await world.eventually(world.is_ready)
    second = files(world)["token"]
    assert second != first
    assert world.container()["restartCount"] == 1


async def test_files_that_tell_the_pods_address_do(autojump_clock, world):
    await world.start_daemon()
    item = {"path": "ip", "fieldRef": {"fieldPath": "status.podIP"}}
    world.apply(mounting({"name": "me", "downwardAPI": {"items": [item]}}))
    await world.eventually(world.is_ready)
    assert files(world) == {"ip": world.pod()["status"]["podIP"]}
    assert world.instances()["web-app"].start_count == 1
