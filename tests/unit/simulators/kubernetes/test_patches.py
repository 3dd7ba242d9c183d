from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.simulators.kubernetes.errors import ApiError
from kraftlet_trio.simulators.kubernetes.patches import (
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_MERGE_PATCH,
    merge_patch,
    patch_function,
)
from kraftlet_trio.simulators.kubernetes.resources import DEPLOYMENTS, NODES, PODS, SERVICES


def patched(value, patch, *, kind=STRATEGIC_MERGE_PATCH, resource=PODS):
    return patch_function(resource, kind, orjson.dumps(patch))(value)


def test_merge_patch_follows_the_examples_of_its_rfc():
    value = {"title": "Goodbye!", "author": {"given": "John", "family": "Doe"}, "tags": ["a", "b"]}
    patch = {"title": "Hello!", "phone": "+1", "author": {"family": None}, "tags": ["a"]}
    assert patched(value, patch, kind=MERGE_PATCH) == {
        "title": "Hello!",
        "author": {"given": "John"},
        "tags": ["a"],
        "phone": "+1",
    }


json_objects = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xy"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("xy"), json_objects), st.dictionaries(st.text("xy"), json_objects))
def test_a_merge_patch_twice_is_a_merge_patch_once(value, patch):
    once = merge_patch(value, patch)
    assert merge_patch(once, patch) == once


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([{"op": "add", "path": "/a", "value": 1}], {"a": 1, "list": [1, 2]}),
        ([{"op": "add", "path": "/list/1", "value": 9}], {"list": [1, 9, 2]}),
        ([{"op": "add", "path": "/list/-", "value": 9}], {"list": [1, 2, 9]}),
        ([{"op": "remove", "path": "/list/0"}], {"list": [2]}),
        ([{"op": "replace", "path": "/list", "value": []}], {"list": []}),
        ([{"op": "move", "from": "/list", "path": "/moved"}], {"moved": [1, 2]}),
        ([{"op": "copy", "from": "/list/0", "path": "/one"}], {"list": [1, 2], "one": 1}),
        (
            [
                {"op": "test", "path": "/list/0", "value": 1},
                {"op": "add", "path": "/a~1b~0c", "value": 1},
            ],
            {"list": [1, 2], "a/b~c": 1},
        ),
    ],
)
def test_json_patch(operations, expected):
    assert patched({"list": [1, 2]}, operations, kind=JSON_PATCH) == expected


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/list/0", "value": 2},
        {"op": "remove", "path": "/absent"},
        {"op": "replace", "path": "/absent", "value": 1},
        {"op": "add", "path": "/list/7", "value": 1},
        {"op": "add", "path": "list", "value": 1},
        {"op": "dance", "path": "/list"},
        {"path": "/list"},
    ],
)
def test_a_json_patch_that_does_not_fit_is_refused(operation):
    with pytest.raises(ApiError) as refused:
        patched({"list": [1, 2]}, [operation], kind=JSON_PATCH)
    assert refused.value.code == 422


def test_containers_merge_by_name_and_in_the_patches_order():
    pod = {
        "spec": {
            "containers": [
                {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]},
                {"name": "b", "image": "b:1", "args": ["x", "y"]},
            ]
        }
    }
    patch = {
        "spec": {
            "containers": [
                {"name": "c", "image": "c:1"},
                {"name": "a", "env": [{"name": "Y", "value": "2"}]},
            ]
        }
    }
    assert patched(pod, patch)["spec"]["containers"] == [
        {"name": "c", "image": "c:1"},
        {
            "name": "a",
            "image": "a:1",
            "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}],
        },
        {"name": "b", "image": "b:1", "args": ["x", "y"]},
    ]


def test_conditions_merge_by_type_and_leave_foreign_ones():
    status = {
        "conditions": [{"type": "Custom", "status": "True"}, {"type": "Ready", "status": "x"}]
    }
    patch = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    for resource in (PODS, NODES, DEPLOYMENTS):
        merged = patched({"status": status}, patch, resource=resource)
        assert merged["status"]["conditions"] == [
            {"type": "Custom", "status": "True"},
            {"type": "Ready", "status": "True"},
        ]


def test_container_statuses_are_replaced_whole():
    pod = {"status": {"containerStatuses": [{"name": "a"}, {"name": "b"}]}}
    merged = patched(pod, {"status": {"containerStatuses": [{"name": "b", "ready": True}]}})
    assert merged["status"]["containerStatuses"] == [{"name": "b", "ready": True}]


def test_an_element_is_deleted_by_directive():
    pod = {"status": {"conditions": [{"type": "A"}, {"type": "B"}]}}
    patch = {"status": {"conditions": [{"type": "A", "$patch": "delete"}]}}
    assert patched(pod, patch)["status"]["conditions"] == [{"type": "B"}]


def test_a_list_is_replaced_by_directive():
    pod = {"status": {"podIPs": [{"ip": "10.0.0.1"}]}}
    added = patched(pod, {"status": {"podIPs": [{"ip": "10.0.0.2"}]}})
    assert added["status"]["podIPs"] == [{"ip": "10.0.0.2"}, {"ip": "10.0.0.1"}]
    replaced = patched(pod, {"status": {"podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.2"}]}})
    assert replaced["status"]["podIPs"] == [{"ip": "10.0.0.2"}]


def test_an_object_is_replaced_or_emptied_by_directive():
    node = {"spec": {"a": 1, "b": 2}}
    assert patched(node, {"spec": {"$patch": "replace", "c": 3}}) == {"spec": {"c": 3}}
    assert patched(node, {"spec": {"$patch": "delete"}}) == {"spec": {}}


def test_finalizers_merge_as_a_set_and_can_be_taken_out():
    pod = {"metadata": {"finalizers": ["a", "b"]}}
    added = patched(pod, {"metadata": {"finalizers": ["b", "c"]}})
    assert added["metadata"]["finalizers"] == ["a", "b", "c"]
    removed = patched(pod, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}})
    assert removed["metadata"]["finalizers"] == ["b"]


def test_order_is_set_by_directive_and_what_only_the_server_has_stays_in_place():
    pod = {"spec": {"containers": [{"name": name} for name in ("server", "a", "b")]}}
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "new"}, {"name": "a"}],
            "containers": [{"name": "new"}],
        }
    }
    merged = patched(pod, patch)
    assert [one["name"] for one in merged["spec"]["containers"]] == ["server", "b", "new", "a"]


def test_order_alone_sorts_what_is_there():
    pod = {"metadata": {"finalizers": ["a", "b"]}}
    patch = {"metadata": {"$setElementOrder/finalizers": ["b", "a"]}}
    assert patched(pod, patch) == {"metadata": {"finalizers": ["b", "a"]}}


def test_retained_keys_drop_the_other_members_of_a_union():
    deployment = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    merged = patched(deployment, patch, resource=DEPLOYMENTS)
    assert merged == {"spec": {"strategy": {"type": "Recreate"}}}


def test_service_ports_merge_by_port():
    service = {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}
    patch = {"spec": {"ports": [{"port": 80, "targetPort": 9090}, {"port": 443}]}}
    merged = patched(service, patch, resource=SERVICES)
    assert merged["spec"]["ports"] == [{"port": 80, "targetPort": 9090}, {"port": 443}]


def test_an_element_without_its_merge_key_is_refused():
    with pytest.raises(ApiError, match="merge key: type") as refused:
        patched({}, {"status": {"conditions": [{"status": "True"}]}})
    assert refused.value.code == 500


def test_null_removes_and_a_new_object_keeps_no_nulls():
    merged = patched({"spec": {"nodeName": "n"}}, {"spec": {"nodeName": None, "x": {"y": None}}})
    assert merged == {"spec": {"x": {}}}


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("application/json", b"{}", 415),
        (MERGE_PATCH, b"[]", 400),
        (JSON_PATCH, b"{}", 400),
        (STRATEGIC_MERGE_PATCH, b"{", 400),
        ("application/apply-patch+yaml", b"- a", 400),
        ("application/apply-patch+yaml", b"a: [", 400),
    ],
)
def test_what_is_no_patch_is_refused(kind, body, code):
    with pytest.raises(ApiError) as refused:
        patch_function(PODS, kind, body)
    assert refused.value.code == code
