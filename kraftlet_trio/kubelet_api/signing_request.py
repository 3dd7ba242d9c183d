"""What a node asks of the signer ``kubernetes.io/kubelet-serving``, and what came of it.

The rules are the signer's (Kubernetes' pkg/apis/certificates/helpers.go): a request that breaks
one is marked as failed once it is approved.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kraftlet_trio.kubelet_api.certificate import alternative_names
from kraftlet_trio.kubernetes.objects import CertificateSigningRequest

SIGNER = "kubernetes.io/kubelet-serving"
USAGES = ("digital signature", "server auth")
"""Those of an elliptic curve's key; an RSA key would have ``key encipherment``, too."""
LONGEST_NODE_NAME = 64 - len("system:node:")
"""A common name has at most 64 characters (RFC 5280)."""


class NotSigned(Exception):
    """There will be no certificate for this request. The text says why."""


def signing_request(
    node_name: str, names: Iterable[str], key: ec.EllipticCurvePrivateKey
) -> dict[str, Any]:
    """The body of a CertificateSigningRequest for a node that is known by *names*."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node_name}"),
        ]
    )
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(alternative_names(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = request.public_bytes(serialization.Encoding.PEM)
    return {
        "metadata": {"generateName": "csr-"},
        "spec": {
            "signerName": SIGNER,
            "request": base64.b64encode(pem).decode(),
            "usages": list(USAGES),
        },
    }


def signed_certificate(request: CertificateSigningRequest) -> bytes | None:
    """In PEM, perhaps with its chain; None where it may still come.

    Raises:
        NotSigned: the request was denied, has failed, or was answered with nonsense.
    """
    for condition in request.status.conditions:
        if condition.type in ("Denied", "Failed") and condition.status != "False":
            said = ": ".join(filter(None, (condition.reason, condition.message)))
            raise NotSigned(f"{condition.type.lower()}{said and f' ({said})'}")
    if not request.status.certificate:
        return None
    try:
        return base64.b64decode(request.status.certificate, validate=True)
    except binascii.Error as error:
        raise NotSigned("the certificate is not base64") from error


def renewal_time(
    certificate: bytes, key: ec.EllipticCurvePrivateKey, share: float, now: datetime
) -> datetime:
    """When *share* of the life of *certificate*, in PEM, is over.

    Raises:
        NotSigned: it is none for *key*, or that time is over *now*.
    """
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0]
        signed = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise NotSigned(f"the certificate cannot be read: {error}") from error
    if signed != key.public_key():
        raise NotSigned("the certificate is for another key")
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    renewal = begin + share * (end - begin)
    if renewal <= now:
        raise NotSigned(f"the certificate is over at {end:%Y-%m-%dT%H:%M:%SZ}")
    return renewal
