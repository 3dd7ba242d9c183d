"""The serving certificate of the kubelet port: the operator's, or one signed by itself."""

from __future__ import annotations

import ipaddress
import os
import ssl
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kraftlet_trio.clock import utc_now

_VALID_FOR = timedelta(days=365)
_RENEWED_AFTER = 0.8
"""Of a certificate's life."""


@attrs.frozen
class Pair:
    """A certificate, perhaps with its chain, and its key, both in PEM."""

    certificate: bytes
    key: bytes = attrs.field(repr=False)
    origin: str = attrs.field(default="", eq=False)
    """The files that it is from, for messages."""

    @classmethod
    def from_files(cls, certificate: Path, key: Path) -> Pair:
        """Raises ``OSError``."""
        origin = f"{certificate} and {key}"
        return cls(certificate.read_bytes(), key.read_bytes(), origin)


def server_context(pair: Pair, client_authorities: str) -> ssl.SSLContext:
    """A TLS context that serves *pair*, and asks for client certificates without insisting.

    *client_authorities* are the certificates of who signs them, in PEM; where there are none, no
    client certificate is asked for. One that none of them signed ends the handshake.

    Raises:
        OSError: the pair, or the authorities, cannot be used (``ssl.SSLError`` is one).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # The ssl module reads files only. That of the key is a pipe, so that it is never on a disk.
    with tempfile.NamedTemporaryFile(prefix="kraftlet-tls-") as certificate, _pipe(pair.key) as key:
        certificate.write(pair.certificate)
        certificate.flush()
        try:
            # Nobody is there to be asked for a passphrase.
            context.load_cert_chain(certificate.name, key, password=b"")
        except OSError as error:
            where = pair.origin or "the pair"
            raise OSError(f"{where}: no certificate and its key: {error}") from error
    if client_authorities.strip():
        context.load_verify_locations(cadata=client_authorities)
        # As in Go, an authority need not be a root to be trusted.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_OPTIONAL
        # A resumed session would not look at the certificate's dates again.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    return context


@contextmanager
def _pipe(content: bytes) -> Iterator[str]:
    """A path where *content* is read once."""
    readable, writable = os.pipe()
    try:
        with open(writable, "wb", buffering=0) as file:
            os.set_blocking(writable, False)
            if file.write(content) != len(content):
                raise OSError(f"a key of {len(content)} bytes is too long")
        yield f"/dev/fd/{readable}"
    finally:
        os.close(readable)


def check_authorities(pem: str) -> None:
    """Raises ``OSError`` where *pem* is neither empty nor certificates."""
    if pem.strip():
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=pem)


def alternative_names(names: Iterable[str]) -> x509.SubjectAlternativeName:
    """*names* are IP addresses and DNS names."""
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def key_in_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def self_signed(node_name: str, names: Iterable[str], now: datetime) -> Pair:
    """A fresh certificate for the node's names and addresses, good for a year from *now*.

    The API server does not verify a node's certificate unless told to.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node_name}"[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - timedelta(hours=1))
        .not_valid_after(now.astimezone(UTC) + _VALID_FOR)
        .add_extension(alternative_names(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), key_in_pem(key))


@attrs.define
class SelfSigned:
    """The node's own signature: given anew before it ends, and where the node's names changed."""

    _node_name: str
    _names: Callable[[], tuple[str, ...]]
    _made_for: tuple[str, ...] = attrs.field(default=(), init=False)
    _pair: Pair | None = attrs.field(default=None, init=False)
    _renew_at: datetime = attrs.field(default=datetime.max.replace(tzinfo=UTC), init=False)

    def pair(self) -> Pair:
        names, now = self._names(), utc_now()
        if self._pair is None or names != self._made_for or now >= self._renew_at:
            self._pair = self_signed(self._node_name, names, now)
            self._made_for, self._renew_at = names, now + _RENEWED_AFTER * _VALID_FOR
        return self._pair
