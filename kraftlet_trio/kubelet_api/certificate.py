"""The serving certificate of the kubelet port: the operator's, or one signed by itself."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_VALID_FOR = timedelta(days=365)


@attrs.frozen
class Pair:
    """A certificate, perhaps with its chain, and its key, both in PEM."""

    certificate: bytes
    key: bytes = attrs.field(repr=False)

    @classmethod
    def from_files(cls, certificate: Path, key: Path) -> Pair:
        """Raises ``OSError``."""
        return cls(certificate.read_bytes(), key.read_bytes())


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
    # The ssl module reads certificates from files only.
    with tempfile.TemporaryDirectory(prefix="kraftlet-tls-") as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate.write_bytes(pair.certificate)
        key.touch(mode=0o600)
        key.write_bytes(pair.key)
        context.load_cert_chain(certificate, key)
    if client_authorities.strip():
        context.load_verify_locations(cadata=client_authorities)
        # As in Go, an authority need not be a root to be trusted.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_OPTIONAL
        # A resumed session would not look at the certificate's dates again.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    return context


def check_authorities(pem: str) -> None:
    """Raises ``OSError`` where *pem* is neither empty nor certificates."""
    if pem.strip():
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=pem)


def self_signed(node_name: str, address: str, now: datetime) -> Pair:
    """A fresh certificate for the node's name and address.

    The API server does not verify a node's certificate unless told to.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node_name}"[:64])])
    names: list[x509.GeneralName] = [x509.DNSName(node_name)]
    if address:
        names.append(x509.IPAddress(ipaddress.ip_address(address)))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - timedelta(hours=1))
        .not_valid_after(now.astimezone(UTC) + _VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
