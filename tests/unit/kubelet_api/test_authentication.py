from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kraftlet_trio.clock import utc_now
from kraftlet_trio.http.messages import Request
from kraftlet_trio.kubelet_api.authentication import (
    ACCEPTED_SECONDS,
    REFUSED_SECONDS,
    Authenticator,
    certificate_user,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ADA = {"username": "ada", "uid": "7", "groups": ["us"], "extra": {"scope": ["a"]}}


def certificate(*subject: tuple[x509.ObjectIdentifier, str], until: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(until - timedelta(hours=2))
        .not_valid_after(until)
    )
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def bearing(token: str) -> Request:
    return Request(method="GET", path="/", headers={"authorization": f"Bearer {token}"})


@pytest.fixture
def authenticator(kubernetes) -> Authenticator:
    return Authenticator(kubernetes)


def test_a_certificate_names_user_and_groups():
    user = certificate_user(
        certificate(
            (NameOID.ORGANIZATION_NAME, "us"),
            (NameOID.ORGANIZATION_NAME, "them"),
            (NameOID.COMMON_NAME, "ada"),
            until=NOW + timedelta(hours=1),
        ),
        NOW,
    )
    assert user is not None
    assert user.username == "ada"
    assert user.groups == ("us", "them", "system:authenticated")
    [[kind, (credential,)]] = user.extra.items()
    assert kind == "authentication.kubernetes.io/credential-id"
    assert credential.startswith("X509SHA256=")


@pytest.mark.parametrize("until", [timedelta(seconds=-1), timedelta(hours=3)])
def test_a_certificate_out_of_its_time_names_nobody(until):
    der = certificate((NameOID.COMMON_NAME, "ada"), until=NOW + until)
    assert certificate_user(der, NOW) is None


def test_a_certificate_without_a_common_name_names_nobody():
    der = certificate((NameOID.ORGANIZATION_NAME, "us"), until=NOW + timedelta(hours=1))
    assert certificate_user(der, NOW) is None


def test_what_is_no_certificate_names_nobody():
    assert certificate_user(b"\x30\x00", NOW) is None


async def test_a_certificate_asks_nobody(autojump_clock, api, authenticator):
    der = certificate((NameOID.COMMON_NAME, "ada"), until=utc_now() + timedelta(hours=1))
    user = await authenticator.authenticate(
        Request(method="GET", path="/", peer_certificate=der, headers=bearing("t").headers)
    )
    assert user is not None
    assert user.username == "ada"
    assert not api.requests


async def test_a_token_is_whose_the_api_server_says(autojump_clock, api, authenticator):
    api.tokens["t0ken"] = ADA
    user = await authenticator.authenticate(bearing("t0ken"))
    assert user is not None
    assert (user.username, user.uid, user.groups) == ("ada", "7", ("us",))
    assert user.extra == {"scope": ("a",)}
    assert api.asked("tokenreviews") == [{"token": "t0ken"}]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer   "},
        {"authorization": "Basic YWRhOmFkYQ=="},
        {"x-remote-user": "ada"},
    ],
)
async def test_whoever_bears_no_token_is_nobody(autojump_clock, api, authenticator, headers):
    request = Request(method="GET", path="/", headers=headers)
    assert await authenticator.authenticate(request) is None
    assert not api.requests


async def test_an_accepted_token_is_asked_about_every_two_minutes(
    autojump_clock, api, authenticator
):
    api.tokens["t0ken"] = ADA
    for _ in range(2):
        assert await authenticator.authenticate(bearing("t0ken"))
        await trio.sleep(ACCEPTED_SECONDS - 1)
    assert len(api.requests) == 1
    api.tokens.clear()
    await trio.sleep(2)
    assert await authenticator.authenticate(bearing("t0ken")) is None


async def test_a_refused_token_is_asked_about_again_soon(autojump_clock, api, authenticator):
    for _ in range(2):
        assert await authenticator.authenticate(bearing("t0ken")) is None
        await trio.sleep(REFUSED_SECONDS - 1)
    assert len(api.requests) == 1
    api.tokens["t0ken"] = ADA
    await trio.sleep(2)
    assert await authenticator.authenticate(bearing("t0ken"))


async def test_a_user_without_a_name_is_nobody(autojump_clock, api, authenticator):
    api.tokens["t0ken"] = {"groups": ["system:masters"]}
    assert await authenticator.authenticate(bearing("t0ken")) is None


@pytest.mark.parametrize("status", [403, 500, 503])
async def test_an_api_server_that_reviews_nothing_lets_nobody_in(
    autojump_clock, api, authenticator, status
):
    api.status = status
    began = trio.current_time()
    assert await authenticator.authenticate(bearing("t0ken")) is None
    assert trio.current_time() - began <= 10
    api.status = 200
    api.tokens["t0ken"] = ADA
    assert await authenticator.authenticate(bearing("t0ken")), "a failure is not kept"


async def test_a_silent_api_server_lets_nobody_in(autojump_clock, api, authenticator):
    api.seconds = 1000
    began = trio.current_time()
    assert await authenticator.authenticate(bearing("t0ken")) is None
    assert trio.current_time() - began <= 10


async def test_no_token_is_kept_as_it_is(autojump_clock, api, authenticator):
    api.tokens["s3cret"] = ADA
    await authenticator.authenticate(bearing("s3cret"))
    await authenticator.authenticate(bearing("wr0ng"))
    assert "s3cret" not in repr(authenticator._tokens.__dict__)
    assert not any(b"s3cret" in key for key in authenticator._tokens._yes._kept)
