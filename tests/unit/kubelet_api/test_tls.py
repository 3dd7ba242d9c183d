from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kraftlet_trio.http.messages import Request, json_response
from kraftlet_trio.kubelet_api.certificate import Pair, SelfSigned, self_signed, server_context
from kraftlet_trio.kubelet_api.tls import (
    LOOK_SECONDS,
    RETRY_SECONDS,
    ServingTLS,
    authorities_in_file,
    authorities_of_cluster,
)
from kraftlet_trio.kubernetes.errors import Forbidden

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_pair() -> Pair:
    return self_signed("kraftlet", ["kraftlet", "192.0.2.1"], NOW)


def pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


def subjects(context: ssl.SSLContext) -> set[str]:
    """Names of the authorities whose client certificates *context* accepts."""
    return {
        value
        for certificate in context.get_ca_certs()
        for part in certificate["subject"]
        for _, value in part
    }


def test_client_certificates_are_asked_for_where_somebody_signs_them():
    assert server_context(a_pair(), "").verify_mode == ssl.CERT_NONE
    context = server_context(a_pair(), pem(trustme.CA()))
    assert context.verify_mode == ssl.CERT_OPTIONAL


def test_old_tls_is_refused():
    assert server_context(a_pair(), "").minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("authorities", ["no certificate", "-----BEGIN CERTIFICATE-----"])
def test_authorities_that_are_none_are_an_error(authorities):
    with pytest.raises(OSError, match=r"."):
        server_context(a_pair(), authorities)


async def test_replaced_files_are_taken_up(autojump_clock, nursery, tmp_path: Path):
    certificate, key, authorities = (tmp_path / name for name in ("crt", "key", "ca"))

    def write(pair: Pair, authority: trustme.CA) -> None:
        certificate.write_bytes(pair.certificate)
        key.write_bytes(pair.key)
        authorities.write_text(pem(authority))

    async def read_authorities() -> str:
        return await authorities_in_file(authorities)

    first, second = trustme.CA(organization_name="one"), trustme.CA(organization_name="two")
    write(a_pair(), first)
    tls = ServingTLS(lambda: Pair.from_files(certificate, key), read_authorities)
    await nursery.start(tls.run)
    before = tls.context()
    assert "one" in subjects(before)

    await trio.sleep(LOOK_SECONDS + 1)
    assert tls.context() is before

    write(a_pair(), second)
    await trio.sleep(LOOK_SECONDS + 1)
    after = tls.context()
    assert "two" in subjects(after)
    assert "one" not in subjects(after)
    nursery.cancel_scope.cancel()


async def test_files_that_do_not_fit_together_leave_the_last_context(
    autojump_clock, nursery, tmp_path: Path
):
    certificate, key = tmp_path / "crt", tmp_path / "key"
    pair = a_pair()
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)

    async def nobody() -> str:
        return ""

    tls = ServingTLS(lambda: Pair.from_files(certificate, key), nobody)
    await nursery.start(tls.run)
    before = tls.context()
    for half in (a_pair().certificate, b"", b"nonsense"):
        certificate.write_bytes(half)
        await trio.sleep(LOOK_SECONDS + 1)
        assert tls.context() is before
    certificate.unlink()
    await trio.sleep(LOOK_SECONDS + 1)
    assert tls.context() is before
    nursery.cancel_scope.cancel()


async def nobody() -> str:
    return ""


async def test_what_is_wrong_with_new_files_is_told_once(autojump_clock, nursery, tmp_path: Path):
    certificate, key = tmp_path / "crt", tmp_path / "key"
    pair = a_pair()
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    tls = ServingTLS(lambda: Pair.from_files(certificate, key), nobody)
    await nursery.start(tls.run)
    with structlog.testing.capture_logs() as told:
        key.write_bytes(a_pair().key)
        await trio.sleep(3 * LOOK_SECONDS)
    [line] = told
    assert f"{certificate} and {key}" in line["error"]
    assert "the last one is served until the files hold" in line["error"]
    nursery.cancel_scope.cancel()


async def test_mounted_secret_is_taken_up_when_its_link_is_swapped(
    autojump_clock, nursery, tmp_path: Path
):
    def mount(version: str) -> None:
        """As a kubelet replaces all files of a Secret at once."""
        folder = tmp_path / version
        folder.mkdir()
        pair = a_pair()
        (folder / "tls.crt").write_bytes(pair.certificate)
        (folder / "tls.key").write_bytes(pair.key)
        (tmp_path / "..data_tmp").symlink_to(version)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    mount("..one")
    files = [tmp_path / name for name in ("tls.crt", "tls.key")]
    for file in files:
        file.symlink_to(f"..data/{file.name}")
    tls = ServingTLS(lambda: Pair.from_files(*files), nobody)
    await nursery.start(tls.run)
    before = tls.context()
    mount("..two")
    await trio.sleep(LOOK_SECONDS + 1)
    assert tls.context() is not before
    nursery.cancel_scope.cancel()


async def test_files_read_while_they_were_replaced_are_soon_read_again(
    autojump_clock, nursery, tmp_path: Path
):
    old, new = a_pair(), a_pair()
    present = [old]
    tls = ServingTLS(lambda: present[0], nobody)
    await nursery.start(tls.run)
    before = tls.context()
    present[0] = Pair(new.certificate, old.key)
    await trio.sleep(LOOK_SECONDS + 1)
    assert tls.context() is before
    present[0] = new
    await trio.sleep(RETRY_SECONDS)
    assert tls.context() is not before
    nursery.cancel_scope.cancel()


def test_key_with_a_passphrase_is_refused_without_asking_for_it():
    pair = a_pair()
    key = serialization.load_pem_private_key(pair.key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(OSError, match="no certificate and its key"):
        server_context(Pair(pair.certificate, key), "")


async def test_own_signature_is_renewed_before_it_ends(autojump_clock):
    source = SelfSigned("kraftlet", lambda: ("192.0.2.1", "kraftlet"))
    first = source.pair()
    end = x509.load_pem_x509_certificate(first.certificate).not_valid_after_utc
    days = 0
    while source.pair() == first:
        await trio.sleep(24 * 3600)
        days += 1
    assert 290 < days < 295
    assert x509.load_pem_x509_certificate(source.pair().certificate).not_valid_after_utc > end


async def test_own_signature_follows_the_nodes_names(autojump_clock):
    names = ["192.0.2.1", "kraftlet"]
    source = SelfSigned("kraftlet", lambda: tuple(names))
    assert source.pair() == source.pair()
    names[0] = "2001:db8::1"
    certificate = x509.load_pem_x509_certificate(source.pair().certificate)
    told = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one) for one in told.get_values_for_type(x509.IPAddress)] == ["2001:db8::1"]
    assert told.get_values_for_type(x509.DNSName) == ["kraftlet"]


async def test_a_certificate_that_cannot_be_used_ends_the_start(autojump_clock, tmp_path: Path):
    async def nobody() -> str:
        return ""

    tls = ServingTLS(lambda: Pair.from_files(tmp_path / "crt", tmp_path / "key"), nobody)
    with pytest.raises(FileNotFoundError):
        await tls.run()


async def test_the_cluster_tells_who_signs_client_certificates(
    autojump_clock, nursery, api, kubernetes
):
    authority = trustme.CA(organization_name="cluster")

    async def publish(request: Request):
        assert request.path == (
            "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
        )
        return json_response({"metadata": {}, "data": {"client-ca-file": pem(authority)}})

    api.answer_others = publish
    tls = ServingTLS(a_pair, lambda: authorities_of_cluster(kubernetes))
    await nursery.start(tls.run)
    assert "cluster" in subjects(tls.context())
    nursery.cancel_scope.cancel()


async def test_a_cluster_that_tells_nobody_leaves_tokens(autojump_clock, nursery, api, kubernetes):
    api.status = 404
    assert await authorities_of_cluster(kubernetes) == ""
    api.status = 403
    with pytest.raises(Forbidden, match="KRAFTLET_CLIENT_CA_FILE"):
        await authorities_of_cluster(kubernetes)
    pair = a_pair()
    tls = ServingTLS(lambda: pair, lambda: authorities_of_cluster(kubernetes))
    await nursery.start(tls.run)
    assert tls.context().verify_mode == ssl.CERT_NONE
    nursery.cancel_scope.cancel()


async def test_authorities_that_are_none_leave_tokens(autojump_clock, nursery):
    async def nonsense() -> str:
        return "no certificate"

    pair = a_pair()
    tls = ServingTLS(lambda: pair, nonsense)
    await nursery.start(tls.run)
    assert tls.context().verify_mode == ssl.CERT_NONE
    nursery.cancel_scope.cancel()


async def test_what_was_known_stays_while_the_api_server_is_away(
    autojump_clock, nursery, api, kubernetes
):
    authority = trustme.CA(organization_name="cluster")

    async def publish(_request: Request):
        return json_response({"metadata": {}, "data": {"client-ca-file": pem(authority)}})

    api.answer_others = publish
    pair = a_pair()
    tls = ServingTLS(lambda: pair, lambda: authorities_of_cluster(kubernetes))
    await nursery.start(tls.run)
    api.status = 500
    await trio.sleep(3 * LOOK_SECONDS)
    assert "cluster" in subjects(tls.context())
    nursery.cancel_scope.cancel()
