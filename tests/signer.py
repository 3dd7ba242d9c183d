"""A cluster's signer for the certificates of tests."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from functools import partial

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kraftlet_trio.clock import utc_now
from kraftlet_trio.simulators.kubernetes.resources import Json
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator

REQUESTS = "certificatesigningrequests"
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])


@attrs.frozen
class Signer:
    lifetime: timedelta = timedelta(days=365)
    _key: ec.EllipticCurvePrivateKey = attrs.field(
        factory=partial(ec.generate_private_key, ec.SECP256R1()), repr=False
    )

    def authority(self, now: datetime) -> str:
        """Its own certificate, in PEM."""
        builder = x509.CertificateBuilder().subject_name(_NAME).issuer_name(_NAME)
        certificate = (
            builder.public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def sign(self, request_pem: bytes, now: datetime) -> bytes:
        request = x509.load_pem_x509_csr(request_pem)
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(_NAME)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + self.lifetime)
        )
        for extension in request.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def approve(self, cluster: KubernetesSimulator, name: str) -> None:
        """What an approver and the signer make of the request *name*."""
        decide(cluster, name, "Approved")
        request = cluster.get(REQUESTS, name)
        certificate = self.sign(base64.b64decode(request["spec"]["request"]), utc_now())

        def signed(value: Json) -> Json:
            value["status"]["certificate"] = base64.b64encode(certificate).decode()
            return value

        cluster.change(REQUESTS, name, signed, subresource="status")


def decide(cluster: KubernetesSimulator, name: str, kind: str, message: str = "") -> None:
    condition = {"type": kind, "status": "True", "reason": "Test", "message": message}

    def decided(value: Json) -> Json:
        value.setdefault("status", {})["conditions"] = [condition]
        return value

    cluster.change(REQUESTS, name, decided, subresource="approval")
