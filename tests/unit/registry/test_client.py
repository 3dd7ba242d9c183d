"""The client against a registry that behaves."""

import pytest
import trio

from kraftlet_trio.registry.client import FAILURE_SECONDS, TAG_SECONDS
from kraftlet_trio.registry.errors import NotFound, Unauthorized, Unreachable
from kraftlet_trio.registry.objects import Credential, ImageConfig
from kraftlet_trio.registry.reference import parse_reference

ROBOT = Credential(username="robot", password="s3cret")
STRANGER = Credential(username="stranger", password="x")
APP = parse_reference("registry.test/team/app:1")
CONFIG = {
    "Entrypoint": ["/app", "-v"],
    "Cmd": ["serve"],
    "Env": ["PATH=/bin", "A=b=c", "EMPTY"],
    "WorkingDir": "/srv",
    "User": "70:70",
}


async def test_an_images_configuration_is_read(client_of, registry):
    registry.put_image("team/app", "1", config=CONFIG)
    resolved = await client_of().resolve(APP)
    assert resolved.credential is None
    assert resolved.config == ImageConfig(
        entrypoint=("/app", "-v"),
        cmd=("serve",),
        env={"PATH": "/bin", "A": "b=c", "EMPTY": ""},
        working_dir="/srv",
        user="70:70",
    )


@pytest.mark.parametrize("config", [{}, {"Entrypoint": None, "Cmd": None, "Env": None}])
async def test_an_image_may_say_nothing(client_of, registry, config):
    registry.put_image("team/app", "1", config=config)
    assert (await client_of().resolve(APP)).config == ImageConfig()


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize(
    ("architecture", "platforms"),
    [
        ("amd64", ["linux/arm64", "linux/amd64", "unknown/unknown"]),
        ("arm64", ["linux/amd64", "linux/arm64"]),
        ("amd64", ["windows/amd64", "linux/amd64"]),
        ("amd64", ["linux/arm64", "kraftcloud/x86_64"]),
        ("amd64", ["unknown/unknown", "kraftcloud/x86_64"]),
    ],
)
async def test_the_image_for_the_nodes_architecture_is_chosen(
    client_of, registry, internet, architecture, platforms, docker
):
    registry.put_image("team/app", "1", platforms=platforms, docker=docker, config=CONFIG)
    client = client_of(architecture=architecture)
    assert (await client.resolve(APP)).config.cmd == ("serve",)


async def test_no_image_for_the_architecture_is_not_found(client_of, registry):
    registry.put_image("team/app", "1", platforms=["linux/arm64", "linux/s390x"])
    with pytest.raises(NotFound, match="not for amd64"):
        await client_of().resolve(APP)


async def test_an_image_is_found_by_its_digest(client_of, registry):
    digest = registry.put_image("team/app", "1", config=CONFIG)
    client = client_of()
    assert await client.resolve(parse_reference(f"registry.test/team/app:9@{digest}"))
    with pytest.raises(NotFound, match="no such image"):
        await client.resolve(parse_reference("registry.test/team/app:9"))


@pytest.mark.parametrize("authentication", ["bearer", "basic"])
@pytest.mark.parametrize("credential", [ROBOT, Credential(identity_token="t0ken")])
async def test_a_credential_opens_a_private_image(client_of, registry, authentication, credential):
    registry.authentication = authentication
    registry.put_image("team/app", "1", readers=["robot"])
    client = client_of()
    assert (await client.resolve(APP, [credential])).credential == credential
    with pytest.raises(Unauthorized):
        await client.resolve(APP, [STRANGER])
    with pytest.raises(Unauthorized):
        await client.resolve(APP)


async def test_credentials_are_tried_in_turn(client_of, registry):
    registry.put_image("team/app", "1", readers=["robot"])
    other = Credential(username="robot", password="old")
    resolved = await client_of().resolve(APP, [STRANGER, other, ROBOT])
    assert resolved.credential == ROBOT


async def test_a_missing_image_says_more_than_a_refused_credential(client_of, registry):
    registry.put_image("team/app", "2")
    with pytest.raises(NotFound):
        await client_of().resolve(APP, [ROBOT, STRANGER])


async def test_docker_hub_is_asked_where_it_answers(client_of, registry):
    registry.url = "https://registry-1.docker.io"
    registry.put_image("library/nginx", "1.27", config=CONFIG)
    client = client_of({"https://registry-1.docker.io": registry.handle})
    assert (await client.resolve(parse_reference("nginx:1.27"))).config.cmd == ("serve",)


async def test_registries_without_tls_are_spoken_to_where_they_are_named(
    client_of, registry, internet
):
    registry.url = "http://local.test:5000"
    registry.put_image("app", "1")
    client = client_of(
        {"http://local.test:5000": registry.handle, "http://other.test": registry.handle},
        plain_hosts=["Local.test:5000", "other.test:80"],
    )
    await client.resolve(parse_reference("local.test:5000/app:1"))
    registry.url = "http://other.test:80"
    await client.resolve(parse_reference("other.test:80/app:1"))
    with pytest.raises(Unreachable):
        await client.resolve(parse_reference("local.test/app:1"))
    assert internet.urls()[-1] == "https://local.test/v2/app/manifests/1"


async def test_a_tag_is_looked_up_again_after_a_minute(client_of, registry, autojump_clock):
    registry.put_image("team/app", "1", config={"Cmd": ["old"]})
    client = client_of()
    assert (await client.resolve(APP)).config.cmd == ("old",)
    registry.put_image("team/app", "1", config={"Cmd": ["new"]})
    asked = len(registry.requests)
    assert (await client.resolve(APP)).config.cmd == ("old",)
    assert len(registry.requests) == asked
    await trio.sleep(TAG_SECONDS)
    assert (await client.resolve(APP)).config.cmd == ("new",)


async def test_what_was_learnt_outlasts_an_outage(client_of, registry, internet, autojump_clock):
    registry.put_image("team/app", "1", config=CONFIG)
    client = client_of()
    before = await client.resolve(APP)
    down = internet.hosts.pop("https://registry.test")
    await trio.sleep(3600)
    assert await client.resolve(APP) == before
    with pytest.raises(Unreachable):
        await client.resolve(APP, [ROBOT])
    internet.hosts["https://registry.test"] = down
    registry.put_image("team/app", "1", readers=["robot"])
    await trio.sleep(FAILURE_SECONDS)
    with pytest.raises(Unauthorized):
        await client.resolve(APP)


async def test_a_configuration_is_read_once(client_of, registry, autojump_clock):
    registry.put_image("team/app", "1", config=CONFIG)
    registry.put_image("team/app", "2", config=CONFIG)
    client = client_of()
    await client.resolve(APP)
    await client.resolve(parse_reference("registry.test/team/app:2"))
    assert [request.path for request in registry.requests if "/blobs/" in request.path] == [
        request.path for request in registry.requests if "/blobs/" in request.path
    ][:1]


async def test_what_one_credential_opened_is_not_shown_to_another(client_of, registry):
    registry.put_image("team/app", "1", readers=["robot"])
    client = client_of()
    await client.resolve(APP, [ROBOT])
    with pytest.raises(Unauthorized):
        await client.resolve(APP, [STRANGER])
    with pytest.raises(Unauthorized):
        await client.resolve(APP)


async def test_a_failure_is_remembered_for_some_seconds(client_of, registry, autojump_clock):
    client = client_of()
    with pytest.raises(NotFound):
        await client.resolve(APP)
    registry.put_image("team/app", "1")
    asked = len(registry.requests)
    with pytest.raises(NotFound):
        await client.resolve(APP)
    assert len(registry.requests) == asked
    await trio.sleep(FAILURE_SECONDS)
    assert await client.resolve(APP)


async def test_a_hundred_pods_at_once_cost_one_look_up(client_of, registry):
    registry.put_image("team/app", "1", config=CONFIG)
    client = client_of()
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(client.resolve, APP)
    assert len(registry.requests) == 4  # a challenge, a token, the manifest and its configuration


async def test_nothing_is_kept_of_thousands_of_images(client_of, registry):
    client = client_of()
    for tag in range(1000):
        registry.put_image("team/app", str(tag), config={"Cmd": [str(tag)]})
        await client.resolve(parse_reference(f"registry.test/team/app:{tag}"))
    assert len(client._resolved._values) == len(client._configs._values) == 256
    assert not client._turns._limiters
