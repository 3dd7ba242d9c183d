from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.kubelet_api.signing_request import (
    LONGEST_NODE_NAME,
    NotSigned,
    renewal_time,
    signed_certificate,
    signing_request,
)
from kraftlet_trio.kubernetes.objects import CertificateSigningRequest
from kraftlet_trio.kubernetes.serialization import structure
from tests.signer import Signer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())

node_names = st.from_regex(
    rf"[a-z0-9]([-a-z0-9]{{0,{LONGEST_NODE_NAME - 2}}}[a-z0-9])?", fullmatch=True
)


def requested(body: dict) -> x509.CertificateSigningRequest:
    return x509.load_pem_x509_csr(base64.b64decode(body["spec"]["request"]))


def certificate(lifetime: timedelta = timedelta(days=100)) -> bytes:
    pem = base64.b64decode(signing_request("node", ["node"], KEY)["spec"]["request"])
    return Signer(lifetime).sign(pem, NOW)


def answered(status: dict) -> CertificateSigningRequest:
    return structure({"metadata": {"name": "csr-1"}, "status": status}, CertificateSigningRequest)


@given(node_names, st.lists(st.ip_addresses(), unique=True))
def test_request_is_what_the_signer_takes(node_name, addresses):
    body = signing_request(node_name, [node_name, *map(str, addresses)], KEY)
    assert body["spec"]["signerName"] == "kubernetes.io/kubelet-serving"
    assert body["spec"]["usages"] == ["digital signature", "server auth"]

    request = requested(body)
    assert request.is_signature_valid
    said = [(part.oid, part.value) for part in request.subject]
    assert said == [
        (NameOID.ORGANIZATION_NAME, "system:nodes"),
        (NameOID.COMMON_NAME, f"system:node:{node_name}"),
    ]
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == addresses
    assert names.get_values_for_type(x509.DNSName) == [node_name]
    assert len(names) == 1 + len(addresses)


def test_undecided_request_may_still_be_signed():
    assert signed_certificate(answered({})) is None
    approved = {"conditions": [{"type": "Approved", "status": "True"}]}
    assert signed_certificate(answered(approved)) is None


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"conditions": [{"type": "Denied", "status": "True"}]}, "denied"),
        (
            {"conditions": [{"type": "Denied", "status": "True", "message": "who are you"}]},
            "denied (who are you)",
        ),
        # An approved one, too, can fail: the signer checks it only then.
        (
            {
                "conditions": [
                    {"type": "Approved", "status": "True"},
                    {
                        "type": "Failed",
                        "status": "True",
                        "reason": "SignerValidationFailure",
                        "message": "usages did not match",
                    },
                ]
            },
            "failed (SignerValidationFailure: usages did not match)",
        ),
        ({"certificate": "!"}, "the certificate is not base64"),
    ],
)
def test_refusals_say_why(status, said):
    with pytest.raises(NotSigned) as caught:
        signed_certificate(answered(status))
    assert str(caught.value) == said


def test_signed_request_holds_its_certificate():
    pem = certificate()
    answer = answered({"certificate": base64.b64encode(pem).decode()})
    assert signed_certificate(answer) == pem


@given(st.floats(0.7, 0.9))
def test_renewal_is_when_its_share_of_the_life_is_over(share):
    renewal = renewal_time(certificate(timedelta(days=100)), KEY, share, NOW)
    assert NOW + timedelta(days=69.9) < renewal < NOW + timedelta(days=90.1)


@pytest.mark.parametrize(
    ("pem", "key", "now", "said"),
    [
        (b"nonsense", KEY, NOW, "cannot be read"),
        (certificate(), ec.generate_private_key(ec.SECP256R1()), NOW, "for another key"),
        (certificate(), KEY, NOW + timedelta(days=99), "is over at 2026-04-11"),
    ],
)
def test_useless_certificate_counts_as_none(pem, key, now, said):
    with pytest.raises(NotSigned, match=said):
        renewal_time(pem, key, 0.8, now)
