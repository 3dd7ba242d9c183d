"""Images as Pods name them: pulled with their secrets, run with their own entrypoint."""

from __future__ import annotations

import base64
import json

import pytest
import trio

from tests.manifests import Json, a_container, a_pod
from tests.world import World, a_world

ROBOT = "robot", "s3cret"
APP = "registry.test/team/app:1"


def credentials(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def a_pull_secret(name: str = "pull", **users: tuple[str, str]) -> Json:
    """For a key such as ``registry.test/team``, whose slashes and dots are underscores here."""
    auths = {
        key.replace("__", "/").replace("_", "."): {"auth": credentials(*user)}
        for key, user in users.items()
    }
    data = base64.b64encode(json.dumps({"auths": auths}).encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": data},
    }


def a_private_pod(*secrets: str, image: str = APP, **fields) -> Json:
    names = [{"name": name} for name in secrets]
    return a_pod("web", a_container(image=image, **fields), imagePullSecrets=names)


def asked_for(world: World) -> Json:
    """The instance that the daemon last asked the platform for."""
    return json.loads(world.requests("POST", "/v1/instances")[-1].body)


def look_ups(world: World) -> int:
    return len(world.registry.requests)


def with_image(image: str):
    def change(pod: Json) -> Json:
        pod["spec"]["containers"][0]["image"] = image
        return pod

    return change


def events(world: World, reason: str) -> str:
    return "\n".join(event["message"] for event in world.events(reason))


async def test_a_private_image_is_pulled_with_the_pods_secret(autojump_clock, world):
    world.script("app", credentials="robot:s3cret")
    await world.start_daemon()
    world.apply(a_pull_secret(registry_test=ROBOT), a_private_pod("pull"))
    await world.eventually(world.is_ready)
    assert asked_for(world)["image"] == {
        "url": f"oci://{APP}",
        "credentials": credentials(*ROBOT),
    }
    assert not look_ups(world)


@pytest.mark.parametrize(
    ("image", "secrets", "sent"),
    [
        ("nginx:1.27", {"index_docker_io": ROBOT}, "oci://docker.io/library/nginx:1.27"),
        ("nginx:1.27", {"registry_test": ROBOT}, "nginx:1.27"),
        ("nginx:1.27", None, "nginx:1.27"),
        (APP, {"registry_test__team": ROBOT}, f"oci://{APP}"),
        (APP, {"registry_test__other": ROBOT}, APP),
    ],
)
async def test_only_a_matching_credential_is_shown(autojump_clock, world, image, secrets, sent):
    await world.start_daemon()
    if secrets:
        world.apply(a_pull_secret(**secrets))
    world.apply(a_private_pod(*(["pull"] if secrets else []), image=image))
    await world.eventually(world.is_ready)
    asked = asked_for(world)["image"]
    assert (asked if isinstance(asked, str) else asked["url"]) == sent
    assert isinstance(asked, str) or asked["credentials"] == credentials(*ROBOT)


async def test_of_several_credentials_the_one_that_opens_the_image_is_taken(autojump_clock, world):
    world.script("app", credentials="robot:s3cret")
    world.registry.passwords["robot"] = "s3cret"
    world.registry.put_image("team/app", "1", readers=["robot"])
    await world.start_daemon()
    world.apply(
        a_pull_secret("old", registry_test__team=("robot", "old")),
        a_pull_secret("new", registry_test=ROBOT),
        a_private_pod("old", "new"),
    )
    await world.eventually(world.is_ready)
    assert asked_for(world)["image"]["credentials"] == credentials(*ROBOT)


async def test_a_wrong_credential_shows_as_a_failed_pull(autojump_clock, world):
    world.script("app", credentials="robot:s3cret")
    await world.start_daemon()
    world.apply(a_pull_secret(registry_test=("robot", "wrong")), a_private_pod("pull"))
    await world.eventually(lambda: world.waits_for() == "ImagePullBackOff")
    assert APP in world.container()["state"]["waiting"]["message"]
    assert "wrong" not in str(world.pod()) + events(world, "Failed")


async def test_credentials_that_the_registry_refuses_are_told(autojump_clock, world):
    world.registry.put_image("team/app", "1", readers=["robot"])
    await world.start_daemon()
    world.apply(
        a_pull_secret(registry_test__team=("robot", "old"), registry_test=("robot", "older")),
        a_private_pod("pull"),
    )
    await world.eventually(world.is_ready)
    assert APP in events(world, "ImagePullSecretRefused")
    assert asked_for(world)["image"]["credentials"] == credentials("robot", "old")


async def test_a_mended_secret_is_used_at_the_next_attempt(autojump_clock, world):
    world.script("app", credentials="robot:s3cret")
    await world.start_daemon()
    world.apply(a_pull_secret(registry_test=("robot", "wrong")), a_private_pod("pull", "later"))
    await world.eventually(lambda: world.waits_for() == "ImagePullBackOff")
    world.apply(a_pull_secret("later", registry_test__team=ROBOT))
    await world.eventually(world.is_ready, seconds=30)


async def test_secrets_that_are_no_use_are_told_and_the_pull_goes_on(autojump_clock, world):
    await world.start_daemon()
    broken = a_pull_secret("broken")
    broken["data"][".dockerconfigjson"] = base64.b64encode(b'{"auths": 7}').decode()
    world.apply(broken, a_private_pod("broken", "missing"))
    await world.eventually(world.is_ready)
    told = events(world, "FailedToRetrieveImagePullSecret")
    assert "Unable to retrieve some image pull secrets (missing)" in told
    assert 'Unable to use image pull secret "broken"' in told


async def test_args_follow_the_images_entrypoint(autojump_clock, world):
    config = {"Entrypoint": ["/app", "--"], "Cmd": ["serve"]}
    world.registry.put_image("team/app", "1", config=config)
    await world.start_daemon()
    world.apply(a_private_pod(args=["work", "$(SPEED)"], env=[{"name": "SPEED", "value": "fast"}]))
    await world.eventually(world.is_ready)
    assert asked_for(world)["args"] == ["/app", "--", "work", "fast"]
    assert not world.events("UnknownEntrypoint")


async def test_a_private_images_entrypoint_is_read_with_the_pods_secret(autojump_clock, world):
    world.registry.passwords["robot"] = "s3cret"
    world.registry.put_image("team/app", "1", config={"Entrypoint": ["/app"]}, readers=["robot"])
    await world.start_daemon()
    world.apply(a_pull_secret(registry_test=ROBOT), a_private_pod("pull", args=["work"]))
    await world.eventually(world.is_ready)
    assert asked_for(world)["args"] == ["/app", "work"]


@pytest.mark.parametrize("image", [APP, "registry.test/team/other:1"])
async def test_args_stand_alone_where_the_image_is_not_shown(autojump_clock, world, image):
    world.registry.put_image("team/app", "1", config={"Entrypoint": ["/app"]}, readers=["robot"])
    await world.start_daemon()
    world.apply(a_private_pod(image=image, args=["work"]))
    await world.eventually(world.is_ready)
    assert asked_for(world)["args"] == ["work"]
    assert "set command as well" in events(world, "UnknownEntrypoint")


async def test_a_registry_that_does_not_answer_holds_up_a_pod_for_seconds_only(
    autojump_clock, world
):
    world.registry.answer_seconds = 3600
    await world.start_daemon()
    world.apply(a_private_pod(args=["work"]))
    began = trio.current_time()
    await world.eventually(world.is_ready)
    assert trio.current_time() - began < 15
    assert "does not answer" in events(world, "UnknownEntrypoint")


@pytest.mark.parametrize(
    "fields", [{}, {"command": ["run"]}, {"command": ["run"], "args": ["work"]}]
)
async def test_no_other_pod_costs_a_look_up(autojump_clock, world, fields):
    await world.start_daemon()
    world.apply(a_private_pod(**fields))
    await world.eventually(world.is_ready)
    line = [*fields.get("command", []), *fields.get("args", [])]
    assert asked_for(world).get("args", []) == line
    assert not look_ups(world)


async def test_a_name_without_a_registry_is_not_looked_up(autojump_clock, world):
    world.registry.put_image("library/nginx", "1.27", config={"Entrypoint": ["/app"]})
    await world.start_daemon()
    world.apply(a_private_pod(image="nginx:1.27", args=["work"]))
    await world.eventually(world.is_ready)
    assert asked_for(world)["args"] == ["work"]
    assert not look_ups(world)


async def test_no_registry_is_contacted_where_that_is_switched_off(autojump_clock):
    async with a_world(read_registries="false") as world:
        world.registry.put_image("team/app", "1", config={"Entrypoint": ["/app"]})
        await world.start_daemon()
        world.apply(
            a_pull_secret(registry_test=ROBOT, registry_test__team=("other", "x")),
            a_private_pod("pull", args=["work"]),
        )
        await world.eventually(world.is_ready)
        assert asked_for(world)["args"] == ["work"]
        assert asked_for(world)["image"]["credentials"] == credentials("other", "x")
        assert not look_ups(world)


async def test_an_invalid_name_waits_until_it_is_put_right(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_private_pod(image="Not/An/Image"))
    await world.eventually(lambda: world.waits_for() == "InvalidImageName")
    assert "upper-case" in world.container()["state"]["waiting"]["message"]
    world.cluster.change("pods", "web", with_image(APP))
    await world.eventually(world.is_ready)
