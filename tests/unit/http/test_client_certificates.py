"""What a request knows of the client's certificate, over real TLS."""

import ssl
from functools import partial

import httpx
import pytest
import trustme
from cryptography import x509

from kraftlet_trio.http.messages import Request, Response
from kraftlet_trio.http.server import serve

HOST = "127.0.0.1"


async def subject(request: Request) -> Response:
    if request.peer_certificate is None:
        return Response(body=b"nobody")
    certificate = x509.load_der_x509_certificate(request.peer_certificate)
    return Response(body=certificate.subject.rfc4514_string().encode())


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, clients: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    clients.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_context(authority: trustme.CA, identity: trustme.LeafCert | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if identity is not None:
        identity.configure_cert(context)
    return context


async def test_a_verified_certificate_comes_with_each_request(nursery, authority):
    tls = server_context(authority, authority)
    port = await nursery.start(partial(serve, subject, host=HOST, port=0, tls=tls))
    known = authority.issue_cert("x@example.com", common_name="me", organization_name="us")
    async with httpx.AsyncClient(verify=client_context(authority, known)) as client:
        for _ in range(2):
            answer = await client.get(f"https://{HOST}:{port}/")
            assert "CN=me" in answer.text
            assert "O=us" in answer.text
    nursery.cancel_scope.cancel()


async def test_no_certificate_is_needed(nursery, authority):
    tls = server_context(authority, authority)
    port = await nursery.start(partial(serve, subject, host=HOST, port=0, tls=tls))
    async with httpx.AsyncClient(verify=client_context(authority, None)) as client:
        assert (await client.get(f"https://{HOST}:{port}/")).text == "nobody"
    nursery.cancel_scope.cancel()


async def test_a_certificate_of_another_authority_ends_the_handshake(nursery, authority):
    tls = server_context(authority, authority)
    port = await nursery.start(partial(serve, subject, host=HOST, port=0, tls=tls))
    stranger = trustme.CA().issue_cert("x@example.com", common_name="me")
    async with httpx.AsyncClient(verify=client_context(authority, stranger)) as client:
        with pytest.raises(httpx.TransportError):
            await client.get(f"https://{HOST}:{port}/")
    nursery.cancel_scope.cancel()


async def test_each_new_connection_gets_the_present_context(nursery, authority):
    contexts = [server_context(authority, trustme.CA()), server_context(authority, authority)]
    port = await nursery.start(
        partial(serve, subject, host=HOST, port=0, tls=lambda: contexts.pop())
    )
    me = authority.issue_cert("x@example.com", common_name="me")
    async with httpx.AsyncClient(verify=client_context(authority, me)) as client:
        assert "CN=me" in (await client.get(f"https://{HOST}:{port}/")).text
    async with httpx.AsyncClient(verify=client_context(authority, me)) as client:
        with pytest.raises(httpx.TransportError):
            await client.get(f"https://{HOST}:{port}/")
    nursery.cancel_scope.cancel()
