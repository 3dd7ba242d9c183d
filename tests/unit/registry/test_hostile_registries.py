"""The client against registries that do what they like: it fails, soon, and tells nothing."""

import hashlib
import json

import attrs
import pytest
import trio

from kraftlet_trio.http.messages import ConnectionDropped, Request, Response, json_response
from kraftlet_trio.registry.client import CONCURRENT_PER_REGISTRY, TOTAL_SECONDS
from kraftlet_trio.registry.errors import Malformed, RegistryError, Unauthorized, Unreachable
from kraftlet_trio.registry.exchange import MOST_BYTES, REQUEST_SECONDS
from kraftlet_trio.registry.objects import Credential
from kraftlet_trio.registry.reference import parse_reference

EVIL = "https://evil.test"
APP = parse_reference("evil.test/app:1")
ROBOT = Credential(username="robot", password="s3cret")
SHA256 = "sha256:" + "0a" * 32


def digest_of(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def answering(body: bytes | object = b"", status: int = 200, headers=None):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def handle(request: Request) -> Response:
        return Response(status=status, headers=headers or {}, body=content)

    return handle


def redirecting_to(location: str, status: int = 307):
    return answering(status=status, headers={"location": location})


def challenging(challenge: str):
    return answering(status=401, headers={"www-authenticate": challenge})


def with_config(config: bytes):
    """A registry of one image, whose configuration is *config*."""
    manifest = json.dumps({"config": {"digest": digest_of(config)}}).encode()

    async def handle(request: Request) -> Response:
        return Response(body=manifest if "/manifests/" in request.path else config)

    return handle


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b"null",
        {"schemaVersion": 1, "fsLayers": []},
        {"config": []},
        {"config": {"digest": 7}},
        {"config": {"digest": "../../v2/_catalog"}},
        {"config": {"digest": "md5:" + "a" * 32}},
        {"manifests": [7]},
        {"manifests": [{"digest": "x", "platform": {"architecture": "amd64"}}]},
        {"manifests": [{"digest": SHA256, "platform": []}]},
        {"manifests": [{"digest": SHA256, "platform": {"architecture": 7}}]},
    ],
)
async def test_nonsense_for_a_manifest(client_of, body):
    with pytest.raises(Malformed):
        await client_of({EVIL: answering(body)}).resolve(APP)


@pytest.mark.parametrize(
    "config",
    [
        b"nonsense",
        b"[]",
        b'{"config": 7}',
        b'{"config": {"Entrypoint": "sh"}}',
        b'{"config": {"Entrypoint": 7}}',
        b'{"config": {"Cmd": [1]}}',
        b'{"config": {"User": 0.5}}',
        json.dumps({"config": {"Cmd": ["a"] * 100_000}}).encode(),
    ],
)
async def test_nonsense_for_a_configuration(client_of, config):
    with pytest.raises(Malformed):
        await client_of({EVIL: with_config(config)}).resolve(APP)


async def test_content_that_is_not_its_digests(client_of):
    manifest = {"config": {"digest": SHA256}}
    with pytest.raises(Malformed, match="not that of its digest"):
        await client_of({EVIL: answering(manifest)}).resolve(APP)
    with pytest.raises(Malformed, match="not that of its digest"):
        await client_of().resolve(parse_reference(f"evil.test/app@{SHA256}"))


async def test_indexes_that_lead_ever_deeper(client_of):
    bodies: dict[str, bytes] = {}
    body = b"{}"
    for _ in range(10):
        digest = digest_of(body)
        bodies[digest] = body
        entry = {"digest": digest, "platform": {"architecture": "amd64", "os": "linux"}}
        body = json.dumps({"manifests": [entry]}).encode()

    async def handle(request: Request) -> Response:
        return Response(body=bodies.get(request.path.rpartition("/")[2], body))

    with pytest.raises(Malformed, match="leads to another"):
        await client_of({EVIL: handle}).resolve(APP)


async def test_an_endless_body(client_of):
    async def endless(send) -> None:
        while True:
            await send(b" " * 65536)

    async def handle(request: Request) -> Response:
        return Response(stream=endless)

    with pytest.raises(Malformed, match=f"more than {MOST_BYTES}"):
        await client_of({EVIL: handle}).resolve(APP)


async def test_a_body_that_trickles(client_of, autojump_clock):
    async def trickle(send) -> None:
        while True:
            await send(b" ")
            await trio.sleep(1)

    async def handle(request: Request) -> Response:
        return Response(stream=trickle)

    client = client_of({EVIL: handle})
    with pytest.raises(Unreachable, match="does not answer within 10 s"):
        await client.resolve(APP)
    assert trio.current_time() < REQUEST_SECONDS + 1


async def test_many_slow_answers_end_in_time(client_of, autojump_clock):
    async def handle(request: Request) -> Response:
        await trio.sleep(REQUEST_SECONDS - 1)
        return Response(status=401, headers={"www-authenticate": f'Bearer realm="{EVIL}/token"'})

    client = client_of({EVIL: handle})
    others = [attrs.evolve(ROBOT, password=str(number)) for number in range(50)]
    began = trio.current_time()
    with pytest.raises(Unreachable, match="does not answer within 20 s"):
        await client.resolve(APP, others)
    assert trio.current_time() - began <= TOTAL_SECONDS
    with pytest.raises(Unreachable):  # remembered: the next to ask does not wait
        await client.resolve(APP, others)
    assert trio.current_time() - began <= TOTAL_SECONDS


async def test_a_slow_registry_holds_up_only_its_own_images(client_of, registry, autojump_clock):
    at_once = 0
    most = 0

    async def handle(request: Request) -> Response:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            await trio.sleep_forever()
        finally:
            at_once -= 1
        raise AssertionError

    registry.put_image("app", "1")
    client = client_of({EVIL: handle})

    async def fail(tag: int) -> None:
        with pytest.raises(Unreachable):
            await client.resolve(parse_reference(f"evil.test/app:{tag}"))

    async with trio.open_nursery() as nursery:
        for tag in range(20):
            nursery.start_soon(fail, tag)
        await trio.sleep(1)
        assert await client.resolve(parse_reference("registry.test/app:1"))
        assert trio.current_time() < 2
    assert most == CONCURRENT_PER_REGISTRY
    assert trio.current_time() <= TOTAL_SECONDS + 1


async def test_endless_redirects(client_of, internet):
    client = client_of({EVIL: redirecting_to(f"{EVIL}/again")})
    with pytest.raises(Malformed, match="again and again"):
        await client.resolve(APP)
    assert len(internet.asked) == 5


@pytest.mark.parametrize(
    "location",
    [
        "http://evil.test/plain",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "ftp://evil.test/",
        "https://robot:x@registry.test/",
        "https://",
        "https://[",
        "https://evil.test:99999/",
        "https://evil..test/",
        f"https://{'a' * 64}.test/",
        "https://%00/",
        "x" * 70_000,
    ],
)
async def test_redirects_that_lead_astray(client_of, internet, location):
    with pytest.raises(RegistryError):
        await client_of({EVIL: redirecting_to(location)}).resolve(APP)
    assert {request.url.host for request in internet.asked} == {"evil.test"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_another_host_is_followed_without_the_credential(
    client_of, registry, internet, status
):
    registry.authentication = "basic"
    registry.put_image("app", "1", readers=["robot"])
    shown = []

    async def storage(request: Request) -> Response:
        shown.append(request.headers.get("authorization"))
        return await registry.handle(
            attrs.evolve(request, headers={"authorization": f"Basic {ROBOT.basic}"})
        )

    async def front(request: Request) -> Response:
        answer = await registry.handle(request)
        if "/blobs/" not in request.path or answer.status != 200:
            return answer
        return Response(status=status, headers={"location": f"https://cdn.test{request.path}"})

    client = client_of({"https://front.test": front, "https://cdn.test": storage})
    assert await client.resolve(parse_reference("front.test/app:1"), [ROBOT])
    assert shown == [None]


async def test_another_host_cannot_ask_for_the_credential(client_of, internet):
    challenge = 'Basic realm="x", Bearer realm="https://thief.test/token"'
    hosts = {
        EVIL: redirecting_to("https://thief.test/"),
        "https://thief.test": challenging(challenge),
    }
    with pytest.raises(Unauthorized):
        await client_of(hosts).resolve(APP, [ROBOT])
    assert not any("authorization" in request.headers for request in internet.asked)
    assert not any("/token" in url for url in internet.urls())


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "Negotiate",
        "Bearer",
        'Bearer realm="nowhere"',
        'Bearer realm="http://evil.test/token"',
        'Bearer realm="https://["',
        "Bearer realm=" + "x" * 60_000,
        "=" * 10_000,
        '"' * 10_000,
        "a=" * 10_000,
    ],
)
async def test_challenges_that_make_no_sense(client_of, challenge):
    with pytest.raises(Malformed):
        await client_of({EVIL: challenging(challenge)}).resolve(APP, [ROBOT])


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"token": 7},
        {"token": ""},
        {"token": "a\r\nx-evil: 1"},
        {"token": "ä"},
        {"token": "a" * 40_000},
        [],
    ],
)
async def test_tokens_that_no_header_can_carry(client_of, answer):
    async def handle(request: Request) -> Response:
        if request.path == "/token":
            return json_response(answer)
        headers = {"www-authenticate": f'Bearer realm="{EVIL}/token"'}
        return Response(status=401, headers=headers)

    with pytest.raises(Malformed, match="gives no token"):
        await client_of({EVIL: handle}).resolve(APP)


async def test_a_token_that_opens_nothing(client_of, internet):
    async def handle(request: Request) -> Response:
        if request.path == "/token":
            return json_response({"token": "t"})
        return Response(status=401, headers={"www-authenticate": f'Bearer realm="{EVIL}/token"'})

    with pytest.raises(Unauthorized):
        await client_of({EVIL: handle}).resolve(APP)
    assert len(internet.asked) == 3


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, Unauthorized), (429, Unreachable), (500, Unreachable), (503, Unreachable)]
    + [(status, Malformed) for status in (204, 304, 307, 400, 405, 418)],
)
async def test_other_statuses(client_of, status, kind):
    with pytest.raises(kind):
        await client_of({EVIL: answering(b"s3cret", status)}).resolve(APP)


async def test_a_connection_cut_short(client_of):
    async def handle(request: Request) -> Response:
        raise ConnectionDropped

    with pytest.raises(Malformed, match="does not speak HTTP"):
        await client_of({EVIL: handle}).resolve(APP)


async def test_nobody_there(client_of):
    with pytest.raises(Unreachable, match=r"nowhere.test: Connection refused"):
        await client_of().resolve(parse_reference("nowhere.test/app:1"))


@pytest.mark.parametrize("image", [f"{'a' * 64}.test/app", "evil.test:99999/app", "evil.test:0/a"])
async def test_hosts_that_cannot_be(client_of, internet, image):
    with pytest.raises(Malformed):
        await client_of().resolve(parse_reference(image))
    assert not internet.asked


async def test_errors_repeat_neither_answers_nor_credentials(client_of, internet):
    body = b'{"errors": [{"message": "internal-data"}]}'
    for status in (200, 400, 401, 403, 404, 500):
        client = client_of({EVIL: answering(body, status)})
        with pytest.raises(RegistryError) as raised:
            await client.resolve(APP, [ROBOT])
        assert "internal-data" not in str(raised.value)
        assert "s3cret" not in str(raised.value)
        assert ROBOT.basic not in str(raised.value)
