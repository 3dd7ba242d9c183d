"""Endpoints, tokens and trust."""

import ssl
from functools import partial

import pytest
import trio
import trustme

from kraftlet_trio.cloud.access import CloudAccess, TokenFile, endpoint, trust
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.errors import CloudUnauthorized, CloudUnavailable
from kraftlet_trio.http.server import serve
from tests.unit.cloud.platform import Recorder, success


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("fra", "https://api.fra.unikraft.cloud"),
        (" FRA ", "https://api.fra.unikraft.cloud"),
        ("was1", "https://api.was1.unikraft.cloud"),
        ("https://api.dal.unikraft.cloud/v1", "https://api.dal.unikraft.cloud"),
        ("https://cloud.example.org:8443/v1/", "https://cloud.example.org:8443"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("https://example.org/ukc/", "https://example.org/ukc"),
    ],
)
def test_metro_or_url_becomes_an_endpoint(given, url):
    assert endpoint(given) == url


@pytest.mark.parametrize(
    "given",
    [
        "",
        "fra/v1",
        "api.fra.unikraft.cloud",
        "ftp://x",
        "https://",
        "https://x:y",
        "https://u@x",
        "https://x?a=b",
    ],
)
def test_anything_else_is_refused_in_one_sentence(given):
    with pytest.raises(ValueError, match="write") as caught:
        endpoint(given)
    assert "\n" not in str(caught.value)


def test_token_file_is_read_again_when_replaced(tmp_path):
    path = tmp_path / "token"
    path.write_text("one\n")
    token = TokenFile(path)
    assert token() == "one"
    replacement = tmp_path / "next"
    replacement.write_text("two\n")
    replacement.rename(path)
    assert token() == "two"


def test_token_outlasts_a_file_that_is_away_or_empty_for_a_moment(tmp_path):
    path = tmp_path / "token"
    path.write_text("one")
    token = TokenFile(path)
    assert token() == "one"
    path.write_text("")
    assert token() == "one"
    path.unlink()
    assert token() == "one"


@pytest.mark.parametrize("content", [None, "", "  \n"])
def test_no_token_at_all_is_unauthorized(tmp_path, content):
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CloudUnauthorized, match="token file"):
        TokenFile(path)()


def test_access_does_not_show_its_token():
    assert "token" not in repr(CloudAccess(base_url="https://x", token=lambda: "t"))


def test_own_authority_is_trusted_besides_the_usual_ones(tmp_path):
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    usual = trust().cert_store_stats()["x509_ca"]
    context = trust(ca_file=path)
    assert context.cert_store_stats()["x509_ca"] == usual + 1
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_file_without_certificates_is_refused(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("hello")
    with pytest.raises(ValueError, match="no certificate authority"):
        trust(ca_file=path)
    with pytest.raises(ValueError, match="no certificate authority"):
        trust(ca_file=tmp_path / "missing")


def test_insecure_believes_anybody():
    context = trust(insecure=True)
    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname


async def test_platform_with_an_authority_of_its_own_is_reached_by_those_who_trust_it(
    nursery, tmp_path
):
    authority, path = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    platform = Recorder(success("quotas", {"hard": {"instances": 3}}))
    port = await nursery.start(partial(serve, platform, host="127.0.0.1", port=0, tls=tls))

    async def instances(context):
        access = CloudAccess(
            base_url=f"https://localhost:{port}", token=lambda: "t", ssl_context=context
        )
        async with CloudClient(access) as client:
            return (await client.quotas()).hard.instances

    assert await instances(trust(ca_file=path)) == 3
    assert await instances(trust(insecure=True)) == 3
    with trio.fail_after(30), pytest.raises(CloudUnavailable, match="certificate"):
        await instances(None)
    nursery.cancel_scope.cancel()
