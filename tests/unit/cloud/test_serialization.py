"""Reading what the platform may send one day; writing only what was set."""

from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.cloud.objects import (
    Instance,
    InstanceRequest,
    InstanceVolumeRequest,
    Quotas,
    ScaleToZero,
    Service,
    ServiceGroup,
    Volume,
)
from kraftlet_trio.cloud.serialization import read_time, structure, unstructure

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def test_unknown_fields_and_nulls_read_as_absent():
    value = {
        "uuid": "u",
        "state": "hibernating",
        "volumes": None,
        "tags": None,
        "service_group": None,
        "stop_code": None,
        "brand_new": {"x": 1},
        "scale_to_zero": {"enabled": True, "policy": "on", "stateful": None, "new": []},
    }
    instance = structure(value, Instance)
    assert instance == Instance(
        uuid="u", state="hibernating", scale_to_zero=ScaleToZero(policy="on")
    )


def test_one_malformed_field_spoils_no_other():
    instance = structure(
        {
            "uuid": "u",
            "memory_mb": "plenty",
            "stopped_at": "yesterday",
            "started_at": "2026-05-28T13:53:40Z",
            "volumes": [{"name": "v", "at": "/v"}],
            "env": ["A=1"],
            "vcpus": 2,
        },
        Instance,
    )
    assert (instance.memory_mb, instance.stopped_at, instance.env) == (0, None, {})
    assert instance.started_at == datetime(2026, 5, 28, 13, 53, 40, tzinfo=UTC)
    assert (instance.vcpus, instance.volumes[0].at) == (2, "/v")


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_what_is_no_number_takes_its_default(number):
    assert structure({"uuid": "u", "vcpus": number, "name": "web"}, Instance).name == "web"


@pytest.mark.parametrize("value", [None, [], "x", {}, {"name": "no uuid"}])
def test_what_is_no_instance_is_an_error(value):
    with pytest.raises(ValueError, match="Instance"):
        structure(value, Instance)


@given(
    value=st.fixed_dictionaries(
        {},
        optional={
            field.name: JSON
            for cls in (Instance, Volume, ServiceGroup, Quotas)
            for field in attrs.fields(cls)
        },
    ),
    cls=st.sampled_from([Instance, Volume, ServiceGroup]),
)
def test_any_json_object_with_an_identity_can_be_read(value, cls):
    read = structure({**value, "uuid": "u"}, cls)
    assert read.uuid == "u"
    hash(read.uuid)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-10-02T08:15:30.120000456Z", datetime(2026, 10, 2, 8, 15, 30, 120000, tzinfo=UTC)),
        ("2026-10-02T08:15:30", datetime(2026, 10, 2, 8, 15, 30, tzinfo=UTC)),
        ("2026-10-02T10:15:30+02:00", datetime(2026, 10, 2, 8, 15, 30, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (17, None),
        (None, None),
    ],
)
def test_times(text, moment):
    assert read_time(text) == moment


def test_requests_hold_what_is_set_and_nothing_else():
    request = InstanceRequest(
        name="web",
        image="i",
        args=(),
        autostart=False,
        scale_to_zero=ScaleToZero(),
        volumes=(InstanceVolumeRequest(name="v", at="/v"),),
    )
    assert unstructure(request) == {
        "name": "web",
        "image": "i",
        "args": [],
        "autostart": False,
        "scale_to_zero": {"policy": "off"},
        "volumes": [{"name": "v", "at": "/v", "readonly": False}],
    }


def test_port_without_handlers_names_none():
    assert unstructure((Service(port=53, protocol="udp"),)) == [{"port": 53, "protocol": "udp"}]
