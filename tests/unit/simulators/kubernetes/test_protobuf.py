from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.simulators.kubernetes.protobuf import decode
from kraftlet_trio.simulators.kubernetes.protobuf_messages import MESSAGES

SCALARS = {"string", "bytes", "int", "bool", "IntOrString"}


def field(number, content):
    if isinstance(content, int):
        return bytes([number << 3, content])
    return bytes([number << 3 | 2, len(content)]) + content


def envelope(kind, content, api_version=b"v1"):
    type_meta = field(1, api_version) + field(2, kind)
    return b"k8s\x00" + field(1, type_meta) + field(2, content)


def test_an_object_is_read_as_its_json():
    metadata = field(1, b"settings") + field(2, b"") + field(11, field(1, b"a") + field(2, b"b"))
    content = field(1, metadata) + field(2, field(1, b"key") + field(2, b"value"))
    content += field(3, field(1, b"raw") + field(2, b"\xff"))
    assert decode(envelope(b"ConfigMap", content)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "labels": {"a": "b"}},
        "data": {"key": "value"},
        "binaryData": {"raw": "/w=="},
    }


def test_zero_is_kept_where_it_means_something():
    content = field(2, field(1, 0) + field(5, 0))
    deployment = decode(envelope(b"Deployment", content, b"apps/v1"))
    assert deployment["spec"] == {"replicas": 0}


def test_ports_are_numbers_or_names():
    by_number = field(3, 80) + field(4, field(1, 0) + field(2, 8))
    by_name = field(3, 81) + field(4, field(1, 1) + field(3, b"web"))
    content = field(2, field(1, by_number) + field(1, by_name))
    assert decode(envelope(b"Service", content))["spec"]["ports"] == [
        {"port": 80, "targetPort": 8},
        {"port": 81, "targetPort": "web"},
    ]


def test_what_is_not_known_is_refused_unless_it_is_zero():
    pod_spec = field(2, field(1, b"app")) + field(11, 0)
    template = field(3, field(2, pod_spec))
    spec = decode(envelope(b"Deployment", field(2, template)))["spec"]
    assert spec["template"]["spec"] == {"containers": [{"name": "app"}]}
    template = field(3, field(2, pod_spec + field(11, 1)))
    with pytest.raises(ValueError, match="does not know field 11 of PodSpec"):
        decode(envelope(b"Deployment", field(2, template)))


def test_a_kind_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="reads Lease as JSON only"):
        decode(envelope(b"Lease", b""))


def test_every_message_that_is_named_is_there():
    for fields in MESSAGES.values():
        for entry in filter(None, fields.values()):
            kind = entry.partition(":")[2].removeprefix("[]").removeprefix("{}").rstrip("?")
            assert kind in SCALARS | MESSAGES.keys()


@given(st.sampled_from([b"ConfigMap", b"Deployment", b"Service"]), st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(kind, content):
    with suppress(ValueError):
        assert isinstance(decode(envelope(kind, content)), dict)


@given(st.binary(max_size=40))
def test_any_body_is_read_or_refused(body):
    with pytest.raises(ValueError):  # noqa: PT011
        decode(body)
