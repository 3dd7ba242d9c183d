"""Certificates and keys in PEM, as they are uploaded (platform reference, certificates)."""

from __future__ import annotations

from datetime import datetime

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from kraftlet_trio.simulators.cloud.errors import ErrorCode, ItemError, invalid


@attrs.frozen(kw_only=True)
class CertificateIdentity:
    """What an issued certificate says of itself."""

    subject: str
    issuer: str
    serial_number: str
    """Hexadecimal."""
    not_before: datetime
    not_after: datetime


def read_certificate(chain: str, key: str, common_name: str) -> CertificateIdentity:
    """Read an upload. Raises ``ItemError`` if it is not one for *common_name*, or has no key."""
    try:
        certificate = x509.load_pem_x509_certificates(chain.encode())[0]
        subject = certificate.subject
        names = {str(each.value) for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
        public_key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise invalid("'chain' is not a PEM certificate chain") from error
    try:
        private_key = serialization.load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise invalid("'pkey' is not a PEM private key") from error
    if common_name not in names:
        raise ItemError(
            ErrorCode.CERTIFICATE_MISMATCH,
            f"The certificate's common name is not '{common_name}'",
        )
    if private_key.public_key() != public_key:
        raise invalid("'pkey' is not the key of the certificate")
    return CertificateIdentity(
        subject=subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial_number=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )
