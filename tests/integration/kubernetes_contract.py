"""What the daemon relies on of any Kubernetes API server, as claims that can be run against one.

The same claims are held against the simulator and against a real control plane: where they differ,
the simulator is wrong. Each gets a client with all rights and an empty namespace of its own, asks
nothing of controllers, and leaves nothing outside its namespace.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec

from kraftlet_trio.kubelet_api.signing_request import signing_request
from kraftlet_trio.kubernetes.client import KubernetesClient, PatchKind
from kraftlet_trio.kubernetes.errors import (
    AlreadyExists,
    Conflict,
    Expired,
    Invalid,
    NotFound,
)
from kraftlet_trio.kubernetes.events import EventRecorder
from kraftlet_trio.kubernetes.informer import Store, run_informer
from kraftlet_trio.kubernetes.leases import renew_node_lease_forever, run_while_leader
from kraftlet_trio.kubernetes.objects import ObjectMeta, ObjectReference
from kraftlet_trio.kubernetes.resources import (
    CERTIFICATE_SIGNING_REQUESTS,
    CONFIG_MAPS,
    EVENTS,
    LEASES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    SECRETS,
    SERVICES,
    Resource,
)

Claim = Callable[[KubernetesClient, str], Awaitable[None]]

CLAIMS: list[Claim] = []
SOON_SECONDS = 10.0


def claim(function: Claim) -> Claim:
    CLAIMS.append(function)
    return function


@attrs.frozen
class Named:
    """Any object, of which only the metadata is read."""

    metadata: ObjectMeta


NAMESPACES = Resource(Named, "api/v1", "namespaces", "Namespace", namespaced=False)
SERVICE_ACCOUNTS = Resource(Named, "api/v1", "serviceaccounts", "ServiceAccount", namespaced=True)


@asynccontextmanager
async def a_namespace(client: KubernetesClient) -> AsyncIterator[str]:
    """A namespace that takes Pods; deleted afterwards."""
    namespace = await client.create(NAMESPACES, {"metadata": {"generateName": "contract-"}})
    name = namespace.metadata.name
    with suppress(AlreadyExists):
        # Pods are refused without it, and a controller would make it only some time later.
        await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, namespace=name)
    try:
        yield name
    finally:
        with trio.move_on_after(SOON_SECONDS, shield=True):
            await client.delete(NAMESPACES, name)


def config_map(name: str = "one", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "data": {"key": "value"}}


def pod(name: str = "web", *, node: str = "", **metadata: Any) -> dict[str, Any]:
    """Of the right shape, but nobody's business: no controller touches it."""
    spec: dict[str, Any] = {
        "containers": [{"name": "app", "image": "registry.test/app:1"}],
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 30,
        # The cluster's scheduler would write into its status.
        "schedulerName": "nobody",
    }
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": name, **metadata}, "spec": spec}


def a_node_name() -> str:
    """Of no Node there is: nothing looks after Pods bound to it."""
    return f"contract-{random.getrandbits(40):010x}"


# Reading and writing


@claim
async def created_object_is_read_back(client: KubernetesClient, namespace: str) -> None:
    made = await client.create(CONFIG_MAPS, config_map(labels={"a": "b"}), namespace=namespace)
    assert made.metadata.uid
    assert made.metadata.resource_version
    assert made.metadata.creation_timestamp
    assert made.metadata.namespace == namespace
    assert made.metadata.labels == {"a": "b"}
    assert made.data == {"key": "value"}
    assert await client.get(CONFIG_MAPS, "one", namespace=namespace) == made


@claim
async def taken_name_is_refused(client: KubernetesClient, namespace: str) -> None:
    await client.create(CONFIG_MAPS, config_map(), namespace=namespace)
    with pytest.raises(AlreadyExists):
        await client.create(CONFIG_MAPS, config_map(), namespace=namespace)


@claim
async def absent_object_is_not_found(client: KubernetesClient, namespace: str) -> None:
    with pytest.raises(NotFound):
        await client.get(PODS, "absent", namespace=namespace)
    with pytest.raises(NotFound):
        await client.patch(PODS, "absent", {"metadata": {}}, namespace=namespace)
    with pytest.raises(NotFound):
        await client.patch(
            PODS, "absent", {"status": {}}, namespace=namespace, subresource="status"
        )
    with pytest.raises(NotFound):
        await client.replace(PODS, "absent", pod("absent"), namespace=namespace)
    with pytest.raises(NotFound):
        await client.delete(PODS, "absent", namespace=namespace, uid="any")
    with pytest.raises(NotFound):
        await client.create(CONFIG_MAPS, config_map(), namespace=f"{namespace}-absent")


@claim
async def generated_names_differ(client: KubernetesClient, namespace: str) -> None:
    names = set()
    for _ in range(3):
        made = await client.create(
            CONFIG_MAPS, {"metadata": {"generateName": "some-"}}, namespace=namespace
        )
        names.add(made.metadata.name)
    assert len(names) == 3
    assert all(name.startswith("some-") for name in names)


@claim
async def nonsense_is_invalid(client: KubernetesClient, namespace: str) -> None:
    with pytest.raises(Invalid):
        await client.create(PODS, {"metadata": {"name": "empty"}}, namespace=namespace)
    with pytest.raises(Invalid):
        await client.create(CONFIG_MAPS, config_map("Not_A_Name"), namespace=namespace)
    with pytest.raises(Invalid):
        await client.create(CONFIG_MAPS, {"kind": "Secret", **config_map()}, namespace=namespace)


@claim
async def namesake_has_another_uid(client: KubernetesClient, namespace: str) -> None:
    first = await client.create(CONFIG_MAPS, config_map(), namespace=namespace)
    await client.delete(CONFIG_MAPS, "one", namespace=namespace)
    second = await client.create(CONFIG_MAPS, config_map(), namespace=namespace)
    assert first.metadata.uid != second.metadata.uid


@claim
async def defaults_are_filled_in(client: KubernetesClient, namespace: str) -> None:
    web = await client.create(PODS, pod(), namespace=namespace)
    assert web.spec.restart_policy == "Always"
    assert web.spec.service_account_name == "default"
    assert web.spec.containers[0].image_pull_policy == "IfNotPresent"
    assert web.status.phase == "Pending"
    assert web.status.qos_class == "BestEffort"
    assert {(one.key, one.effect) for one in web.spec.tolerations} == {
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
    }

    service = await client.create(
        SERVICES,
        {"metadata": {"name": "web"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}},
        namespace=namespace,
    )
    assert service.spec.type == "ClusterIP"
    assert service.spec.cluster_ip
    assert service.spec.ports[0].protocol == "TCP"
    assert service.spec.ports[0].target_port == 80

    secret = await client.create(
        SECRETS, {"metadata": {"name": "s"}, "stringData": {"key": "value"}}, namespace=namespace
    )
    assert secret.data == {"key": "dmFsdWU="}
    assert secret.type == "Opaque"

    volume = await client.create(
        PERSISTENT_VOLUME_CLAIMS,
        {
            "metadata": {"name": "data"},
            "spec": {
                "storageClassName": "none",
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        },
        namespace=namespace,
    )
    assert volume.status.phase == "Pending"
    assert volume.spec.volume_mode == "Filesystem"
    assert volume.metadata.finalizers == ("kubernetes.io/pvc-protection",)


# Lists


@claim
async def list_selects_by_label_name_and_namespace(
    client: KubernetesClient, namespace: str
) -> None:
    for name, colour in (("a", "red"), ("b", "blue"), ("c", "red")):
        await client.create(
            CONFIG_MAPS, config_map(name, labels={"colour": colour}), namespace=namespace
        )

    async def names(**selection: str) -> set[str]:
        found = await client.list(CONFIG_MAPS, namespace=namespace, **selection)
        return {item.metadata.name for item in found.items} - {"kube-root-ca.crt"}

    assert await names() == {"a", "b", "c"}
    assert await names(label_selector="colour=red") == {"a", "c"}
    assert await names(label_selector="colour in (blue, green)") == {"b"}
    assert await names(label_selector="!colour") == set()
    assert await names(field_selector="metadata.name=b") == {"b"}
    everywhere = await client.list(CONFIG_MAPS, label_selector="colour=blue")
    assert namespace in {item.metadata.namespace for item in everywhere.items}


@claim
async def pods_are_selected_by_node(client: KubernetesClient, namespace: str) -> None:
    here, there = a_node_name(), a_node_name()
    await client.create(PODS, pod("a", node=here), namespace=namespace)
    await client.create(PODS, pod("b", node=there), namespace=namespace)
    await client.create(PODS, pod("c"), namespace=namespace)
    found = await client.list(PODS, field_selector=f"spec.nodeName={here}")
    assert [item.metadata.name for item in found.items] == ["a"]


@claim
async def long_list_comes_in_pages(client: KubernetesClient, namespace: str) -> None:
    wanted = {f"n{number}" for number in range(501)}
    async with trio.open_nursery() as nursery:
        for name in wanted:
            nursery.start_soon(
                partial(
                    client.create,
                    CONFIG_MAPS,
                    config_map(name, labels={"page": "d"}),
                    namespace=namespace,
                )
            )
    found = await client.list(CONFIG_MAPS, namespace=namespace, label_selector="page=d")
    assert len(found.items) == 501
    assert {item.metadata.name for item in found.items} == wanted


@claim
async def list_is_as_fresh_as_asked(client: KubernetesClient, namespace: str) -> None:
    made = await client.create(CONFIG_MAPS, config_map(), namespace=namespace)
    for version in (None, made.metadata.resource_version):
        found = await client.list(CONFIG_MAPS, namespace=namespace, resource_version=version)
        assert made in found.items
    await client.list(CONFIG_MAPS, namespace=namespace, resource_version="0")


@claim
async def version_from_the_future_is_expired(client: KubernetesClient, namespace: str) -> None:
    with pytest.raises(Expired):
        await client.list(CONFIG_MAPS, namespace=namespace, resource_version="999999999")


# Watches


@claim
async def watch_tells_a_life_in_order_and_resumes_anywhere(
    client: KubernetesClient, namespace: str
) -> None:
    begin = await client.list(CONFIG_MAPS, namespace=namespace, label_selector="!ca")
    made = await client.create(CONFIG_MAPS, config_map(), namespace=namespace)
    changed = await client.patch(
        CONFIG_MAPS, "one", {"data": {"key": "other"}}, namespace=namespace
    )
    await client.delete(CONFIG_MAPS, "one", namespace=namespace)
    selection = {"namespace": namespace, "field_selector": "metadata.name=one"}
    with trio.fail_after(SOON_SECONDS):
        async with client.watch(
            CONFIG_MAPS, resource_version=begin.resource_version, **selection
        ) as events:
            seen = [await anext(events) for _ in range(3)]
        assert [event.type for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
        assert seen[0].object == made
        assert seen[1].object == changed
        assert seen[2].object.metadata.uid == made.metadata.uid
        assert seen[2].object.data == changed.data
        versions = [event.resource_version for event in seen]
        assert versions[:2] == [made.metadata.resource_version, changed.metadata.resource_version]
        assert versions[2] not in versions[:2]
        async with client.watch(CONFIG_MAPS, resource_version=versions[0], **selection) as events:
            assert [await anext(events) for _ in range(2)] == seen[1:]


@claim
async def watch_waits_for_what_comes(client: KubernetesClient, namespace: str) -> None:
    begin = await client.list(PODS, namespace=namespace)
    with trio.fail_after(SOON_SECONDS):
        async with client.watch(
            PODS, namespace=namespace, resource_version=begin.resource_version
        ) as events:
            for name in ("a", "b"):
                await client.create(PODS, pod(name), namespace=namespace)
                assert (await anext(events)).object.metadata.name == name


@claim
async def watch_shows_matching_begin_and_end(client: KubernetesClient, namespace: str) -> None:
    begin = await client.list(CONFIG_MAPS, namespace=namespace)
    await client.create(CONFIG_MAPS, config_map(), namespace=namespace)
    for label in ("on", "off"):
        await client.patch(
            CONFIG_MAPS, "one", {"metadata": {"labels": {"light": label}}}, namespace=namespace
        )
    with trio.fail_after(SOON_SECONDS):
        async with client.watch(
            CONFIG_MAPS,
            namespace=namespace,
            label_selector="light=on",
            resource_version=begin.resource_version,
        ) as events:
            seen = [await anext(events) for _ in range(2)]
    assert [event.type for event in seen] == ["ADDED", "DELETED"]


@claim
async def node_sees_its_pods_when_they_are_bound(client: KubernetesClient, namespace: str) -> None:
    node = a_node_name()
    begin = await client.list(PODS, field_selector=f"spec.nodeName={node}")
    await client.create(PODS, pod(), namespace=namespace)
    await client.create_subresource(
        PODS,
        "web",
        "binding",
        {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": "web"},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        },
        namespace=namespace,
    )
    with trio.fail_after(SOON_SECONDS):
        async with client.watch(
            PODS,
            field_selector=f"spec.nodeName={node}",
            resource_version=begin.resource_version,
        ) as events:
            event = await anext(events)
    assert (event.type, event.object.spec.node_name) == ("ADDED", node)


@claim
async def write_that_changes_nothing_is_no_event(client: KubernetesClient, namespace: str) -> None:
    made = await client.create(CONFIG_MAPS, config_map(), namespace=namespace)
    again = await client.patch(CONFIG_MAPS, "one", {"data": {"key": "value"}}, namespace=namespace)
    assert again.metadata.resource_version == made.metadata.resource_version


@claim
async def informer_follows(client: KubernetesClient, namespace: str) -> None:
    first = await client.create(CONFIG_MAPS, config_map("first"), namespace=namespace)
    store: Store[Any] = Store()
    changes = trio.open_memory_channel[set[str]](100)
    async with trio.open_nursery() as nursery:
        with trio.fail_after(SOON_SECONDS):
            await nursery.start(
                partial(
                    run_informer,
                    client,
                    CONFIG_MAPS,
                    store,
                    changes[0].send_nowait,
                    namespace=namespace,
                    # Controllers put a certificate into each namespace.
                    field_selector="metadata.name!=kube-root-ca.crt",
                )
            )
            assert await changes[1].receive() == {first.metadata.uid}
            second = await client.create(CONFIG_MAPS, config_map("second"), namespace=namespace)
            assert await changes[1].receive() == {second.metadata.uid}
            assert store.by_name(namespace, "second") == second
            await client.delete(CONFIG_MAPS, "first", namespace=namespace)
            assert await changes[1].receive() == {first.metadata.uid}
            assert store.get(first.metadata.uid) is None
        nursery.cancel_scope.cancel()


# Patches and preconditions


@claim
async def merge_patch_sets_removes_and_replaces_lists(
    client: KubernetesClient, namespace: str
) -> None:
    made = config_map(labels={"a": "1", "b": "2"}, finalizers=["test.io/a", "test.io/b"])
    await client.create(CONFIG_MAPS, made, namespace=namespace)
    patched = await client.patch(
        CONFIG_MAPS,
        "one",
        {
            "metadata": {"labels": {"a": None, "c": "3"}, "finalizers": ["test.io/c"]},
            "data": {"more": "x"},
        },
        namespace=namespace,
    )
    assert patched.metadata.labels == {"b": "2", "c": "3"}
    assert patched.metadata.finalizers == ("test.io/c",)
    assert patched.data == {"key": "value", "more": "x"}
    bare = await client.patch(
        CONFIG_MAPS, "one", {"metadata": {"finalizers": None}}, namespace=namespace
    )
    assert bare.metadata.finalizers == ()


@claim
async def strategic_patch_merges_lists_by_their_keys(
    client: KubernetesClient, namespace: str
) -> None:
    await client.create(PODS, pod(finalizers=["test.io/a"]), namespace=namespace)
    strategic = partial(client.patch, PODS, "web", namespace=namespace, kind=PatchKind.STRATEGIC)
    patched = await strategic(
        {
            "metadata": {"finalizers": ["test.io/b"]},
            "spec": {"containers": [{"name": "app", "image": "registry.test/app:2"}]},
        }
    )
    assert set(patched.metadata.finalizers) == {"test.io/a", "test.io/b"}
    assert patched.spec.containers[0].image == "registry.test/app:2"
    assert patched.spec.containers[0].image_pull_policy == "IfNotPresent"
    patched = await strategic({"metadata": {"$deleteFromPrimitiveList/finalizers": ["test.io/a"]}})
    assert patched.metadata.finalizers == ("test.io/b",)
    patched = await strategic({"metadata": {"finalizers": None}})
    assert patched.metadata.finalizers == ()


@claim
async def strategic_status_patch_keeps_foreign_conditions(
    client: KubernetesClient, namespace: str
) -> None:
    await client.create(PODS, pod(), namespace=namespace)

    async def write(*conditions: dict[str, str]) -> dict[str, str]:
        written = await client.patch(
            PODS,
            "web",
            {"status": {"conditions": list(conditions)}},
            namespace=namespace,
            kind=PatchKind.STRATEGIC,
            subresource="status",
        )
        return {one.type: one.status for one in written.status.conditions}

    await write({"type": "Ready", "status": "False"}, {"type": "test.io/x", "status": "True"})
    assert await write({"type": "Ready", "status": "True"}) == {
        "Ready": "True",
        "test.io/x": "True",
    }
    assert await write({"type": "test.io/x", "$patch": "delete"}) == {"Ready": "True"}


@claim
async def json_patch_is_guarded_by_its_tests(client: KubernetesClient, namespace: str) -> None:
    await client.create(CONFIG_MAPS, config_map(labels={"a/b": "1"}), namespace=namespace)
    json = partial(client.patch, CONFIG_MAPS, "one", namespace=namespace, kind=PatchKind.JSON)
    patched = await json(
        [
            {"op": "test", "path": "/data/key", "value": "value"},
            {"op": "replace", "path": "/data/key", "value": "other"},
            {"op": "remove", "path": "/metadata/labels/a~1b"},
        ]
    )
    assert patched.data == {"key": "other"}
    assert patched.metadata.labels == {}
    with pytest.raises(Invalid):
        await json(
            [
                {"op": "test", "path": "/data/key", "value": "value"},
                {"op": "remove", "path": "/data/key"},
            ]
        )


@claim
async def write_meant_for_another_state_is_a_conflict(
    client: KubernetesClient, namespace: str
) -> None:
    made = await client.create(CONFIG_MAPS, config_map(), namespace=namespace)
    stale = {"metadata": {"resourceVersion": made.metadata.resource_version}}
    await client.patch(CONFIG_MAPS, "one", {**stale, "data": {"a": "1"}}, namespace=namespace)
    with pytest.raises(Conflict):
        await client.patch(CONFIG_MAPS, "one", {**stale, "data": {"a": "2"}}, namespace=namespace)
    replacement = config_map(resourceVersion=made.metadata.resource_version)
    with pytest.raises(Conflict):
        await client.replace(CONFIG_MAPS, "one", replacement, namespace=namespace)
    unconditional = await client.replace(CONFIG_MAPS, "one", config_map(), namespace=namespace)
    assert unconditional.data == {"key": "value"}


@claim
async def write_meant_for_another_object_is_a_conflict(
    client: KubernetesClient, namespace: str
) -> None:
    made = await client.create(PODS, pod(), namespace=namespace)
    for uid, subresource in (("other", ""), ("other", "status")):
        body = {"metadata": {"uid": uid, "labels": {"a": "b"}}, "status": {"reason": "x"}}
        for kind in (PatchKind.MERGE, PatchKind.STRATEGIC):
            with pytest.raises(Conflict):
                await client.patch(
                    PODS, "web", body, namespace=namespace, kind=kind, subresource=subresource
                )
    with pytest.raises(Conflict):
        await client.replace(PODS, "web", pod(uid="other"), namespace=namespace)
    with pytest.raises(Conflict):
        await client.delete(PODS, "web", namespace=namespace, uid="other", grace_seconds=0)
    unchanged = await client.get(PODS, "web", namespace=namespace)
    assert unchanged.metadata.uid == made.metadata.uid
    assert unchanged.metadata.deletion_timestamp is None
    assert unchanged.status.reason == ""
    right = {"metadata": {"uid": made.metadata.uid, "labels": {"a": "b"}}}
    patched = await client.patch(PODS, "web", right, namespace=namespace)
    assert patched.metadata.labels == {"a": "b"}


@claim
async def one_of_two_writers_wins(client: KubernetesClient, namespace: str) -> None:
    made = await client.create(CONFIG_MAPS, config_map(), namespace=namespace)
    outcomes = []

    async def write(value: str) -> None:
        body = config_map(resourceVersion=made.metadata.resource_version)
        body["data"] = {"winner": value}
        try:
            written = await client.replace(CONFIG_MAPS, "one", body, namespace=namespace)
        except Conflict:
            outcomes.append("conflict")
        else:
            outcomes.append(written.data["winner"])

    async with trio.open_nursery() as nursery:
        for value in "abcd":
            nursery.start_soon(write, value)
    assert outcomes.count("conflict") == 3
    final = await client.get(CONFIG_MAPS, "one", namespace=namespace)
    assert final.data["winner"] in outcomes


# Status, generation


@claim
async def status_and_spec_are_written_apart(client: KubernetesClient, namespace: str) -> None:
    made = await client.create(PODS, pod(), namespace=namespace)
    body = {
        "spec": {"containers": [{"name": "app", "image": "registry.test/app:2"}]},
        "status": {"phase": "Running", "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}]},
    }
    strategic = partial(client.patch, PODS, "web", body, namespace=namespace)
    written = await strategic(kind=PatchKind.STRATEGIC, subresource="status")
    assert written.spec == made.spec
    assert (written.status.phase, written.status.pod_ip) == ("Running", "10.1.2.3")
    body["status"]["phase"] = "Failed"
    written = await strategic(kind=PatchKind.STRATEGIC)
    assert written.spec.containers[0].image == "registry.test/app:2"
    assert written.status.phase == "Running"


@claim
async def generation_counts_changes_of_the_spec(client: KubernetesClient, namespace: str) -> None:
    made = await client.create(PODS, pod(), namespace=namespace)
    assert made.metadata.generation == 1
    status = {"status": {"phase": "Running"}}
    written = await client.patch(PODS, "web", status, namespace=namespace, subresource="status")
    assert written.metadata.generation == 1
    labelled = await client.patch(
        PODS, "web", {"metadata": {"labels": {"a": "b"}}}, namespace=namespace
    )
    assert labelled.metadata.generation == 1
    image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "registry.test/app:2"}]
    changed = await client.patch(PODS, "web", image, namespace=namespace, kind=PatchKind.JSON)
    assert changed.metadata.generation == 2


@claim
async def pod_spec_is_fixed(client: KubernetesClient, namespace: str) -> None:
    await client.create(PODS, pod(), namespace=namespace)
    for path, value in (("/spec/containers/0/name", "b"), ("/spec/nodeName", "n")):
        with pytest.raises(Invalid):
            await client.patch(
                PODS,
                "web",
                [{"op": "add", "path": path, "value": value}],
                namespace=namespace,
                kind=PatchKind.JSON,
            )


@claim
async def node_status_is_patched_by_condition_type(
    client: KubernetesClient, namespace: str
) -> None:
    name = a_node_name()
    await client.create(
        NODES,
        {
            "metadata": {"name": name},
            "spec": {"taints": [{"key": "test.io/x", "value": "y", "effect": "NoSchedule"}]},
        },
    )
    try:
        node = await client.patch(
            NODES,
            name,
            {
                "status": {
                    "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                    "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                    "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
                    "addresses": [
                        {"$patch": "replace"},
                        {"type": "InternalIP", "address": "10.0.0.1"},
                    ],
                    "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
                }
            },
            kind=PatchKind.STRATEGIC,
            subresource="status",
        )
        assert node.status.capacity == {"cpu": "4", "memory": "8Gi", "pods": "110"}
        assert "Ready" in {condition.type for condition in node.status.conditions}
        assert [address.address for address in node.status.addresses] == ["10.0.0.1"]
        assert node.status.daemon_endpoints == {"kubeletEndpoint": {"Port": 10250}}
        assert "test.io/x" in {taint.key for taint in node.spec.taints}
    finally:
        await client.delete(NODES, name)


# Deletion


@claim
async def bound_pod_is_deleted_gracefully(client: KubernetesClient, namespace: str) -> None:
    made = await client.create(PODS, pod(node=a_node_name()), namespace=namespace)
    uid = made.metadata.uid
    await client.delete(PODS, "web", namespace=namespace, uid=uid)
    dying = await client.get(PODS, "web", namespace=namespace)
    assert dying.metadata.deletion_timestamp is not None
    assert dying.metadata.deletion_grace_period_seconds == 30
    await client.delete(PODS, "web", namespace=namespace, uid=uid, grace_seconds=5)
    sooner = await client.get(PODS, "web", namespace=namespace)
    assert sooner.metadata.deletion_grace_period_seconds == 5
    await client.delete(PODS, "web", namespace=namespace, uid=uid, grace_seconds=60)
    assert await client.get(PODS, "web", namespace=namespace) == sooner  # never lengthened
    with trio.fail_after(SOON_SECONDS):
        async with client.watch(
            PODS, namespace=namespace, resource_version=made.metadata.resource_version
        ) as events:
            await client.delete(PODS, "web", namespace=namespace, uid=uid, grace_seconds=0)
            seen = [(await anext(events)).type for _ in range(3)]
            while seen[-1] == "MODIFIED":
                seen.append((await anext(events)).type)
    assert seen[:2] == ["MODIFIED", "MODIFIED"]
    assert seen[-1] == "DELETED"
    with pytest.raises(NotFound):
        await client.get(PODS, "web", namespace=namespace)


@claim
async def unbound_pod_is_deleted_at_once(client: KubernetesClient, namespace: str) -> None:
    await client.create(PODS, pod(), namespace=namespace)
    await client.delete(PODS, "web", namespace=namespace)
    with pytest.raises(NotFound):
        await client.get(PODS, "web", namespace=namespace)


@claim
async def finished_pod_is_deleted_at_once(client: KubernetesClient, namespace: str) -> None:
    await client.create(PODS, pod(node=a_node_name()), namespace=namespace)
    await client.patch(
        PODS, "web", {"status": {"phase": "Succeeded"}}, namespace=namespace, subresource="status"
    )
    await client.delete(PODS, "web", namespace=namespace)
    with pytest.raises(NotFound):
        await client.get(PODS, "web", namespace=namespace)


@claim
async def finalizer_keeps_a_pod_until_it_is_removed(
    client: KubernetesClient, namespace: str
) -> None:
    made = await client.create(
        PODS, pod(node=a_node_name(), finalizers=["test.io/a", "test.io/b"]), namespace=namespace
    )
    await client.delete(PODS, "web", namespace=namespace, grace_seconds=0)
    dying = await client.get(PODS, "web", namespace=namespace)
    assert dying.metadata.deletion_timestamp is not None
    assert dying.metadata.deletion_grace_period_seconds == 0
    with pytest.raises(Invalid):
        await client.patch(
            PODS,
            "web",
            {"metadata": {"finalizers": ["test.io/a", "test.io/b", "test.io/new"]}},
            namespace=namespace,
        )
    # The status can be written to the end.
    await client.patch(
        PODS, "web", {"status": {"phase": "Failed"}}, namespace=namespace, subresource="status"
    )
    for left in (["test.io/b"], None):
        await client.patch(
            PODS,
            "web",
            {"metadata": {"uid": made.metadata.uid, "finalizers": left}},
            namespace=namespace,
        )
    with pytest.raises(NotFound):
        await client.get(PODS, "web", namespace=namespace)


@claim
async def pod_without_its_finalizer_still_has_its_grace(
    client: KubernetesClient, namespace: str
) -> None:
    made = await client.create(
        PODS, pod(node=a_node_name(), finalizers=["test.io/a"]), namespace=namespace
    )
    await client.delete(PODS, "web", namespace=namespace)
    await client.patch(PODS, "web", {"metadata": {"finalizers": None}}, namespace=namespace)
    dying = await client.get(PODS, "web", namespace=namespace)
    assert dying.metadata.deletion_grace_period_seconds == 30
    await client.delete(PODS, "web", namespace=namespace, uid=made.metadata.uid, grace_seconds=0)
    with pytest.raises(NotFound):
        await client.get(PODS, "web", namespace=namespace)


@claim
async def finalizer_keeps_any_object(client: KubernetesClient, namespace: str) -> None:
    await client.create(CONFIG_MAPS, config_map(finalizers=["test.io/a"]), namespace=namespace)
    await client.delete(CONFIG_MAPS, "one", namespace=namespace)
    dying = await client.get(CONFIG_MAPS, "one", namespace=namespace)
    assert dying.metadata.deletion_timestamp is not None
    begin = dying.metadata.resource_version
    await client.patch(CONFIG_MAPS, "one", {"metadata": {"finalizers": []}}, namespace=namespace)
    with trio.fail_after(SOON_SECONDS):
        async with client.watch(
            CONFIG_MAPS,
            namespace=namespace,
            field_selector="metadata.name=one",
            resource_version=begin,
        ) as events:
            assert (await anext(events)).type == "DELETED"


# Leases, Events, the server


@claim
async def node_lease_is_kept(client: KubernetesClient, namespace: str) -> None:
    name = a_node_name()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(renew_node_lease_forever, client, node_name=name, node_uid=lambda: "")
        )
        with trio.fail_after(SOON_SECONDS):
            while True:
                try:
                    lease = await client.get(LEASES, name, namespace="kube-node-lease")
                    break
                except NotFound:
                    await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    assert lease.spec.holder_identity == name
    assert lease.spec.lease_duration_seconds == 40
    assert lease.spec.renew_time is not None
    await client.delete(LEASES, name, namespace="kube-node-lease")


@claim
async def leadership_is_taken_and_given_back(client: KubernetesClient, namespace: str) -> None:
    for identity in ("one", "two"):
        async with trio.open_nursery() as nursery:
            leading = trio.Event()

            async def lead(leading: trio.Event = leading) -> None:
                leading.set()
                await trio.sleep_forever()

            nursery.start_soon(
                partial(
                    run_while_leader,
                    client,
                    namespace=namespace,
                    name="leader",
                    identity=identity,
                    lead=lead,
                )
            )
            with trio.fail_after(SOON_SECONDS):
                await leading.wait()
            lease = await client.get(LEASES, "leader", namespace=namespace)
            assert lease.spec.holder_identity == identity
            nursery.cancel_scope.cancel()
    lease = await client.get(LEASES, "leader", namespace=namespace)
    assert lease.spec.holder_identity == ""
    assert lease.spec.lease_transitions == 1


@claim
async def events_are_recorded_and_counted(client: KubernetesClient, namespace: str) -> None:
    made = await client.create(PODS, pod(), namespace=namespace)
    about = ObjectReference(
        api_version="v1", kind="Pod", namespace=namespace, name="web", uid=made.metadata.uid
    )
    recorder = EventRecorder("kraftlet-trio", "contract")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.post_forever, client)
        with trio.fail_after(SOON_SECONDS):
            for _ in range(2):
                recorder.record(about, "Warning", "Tested", "as claimed")
                await recorder.drained()
        nursery.cancel_scope.cancel()
    assert recorder.dropped == 0
    found = await client.list(
        EVENTS,
        namespace=namespace,
        field_selector=f"involvedObject.uid={made.metadata.uid},reason=Tested",
    )
    (event,) = found.items
    assert (event.type, event.message, event.count) == ("Warning", "as claimed", 2)


@claim
async def server_tells_its_version(client: KubernetesClient, namespace: str) -> None:
    assert (await client.server_version()).startswith("v")


@claim
async def approvers_of_signing_requests_write_conditions_only(
    client: KubernetesClient, namespace: str
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    body = signing_request("contract", ["contract"], key)
    # A signer that is nobody's.
    body["spec"]["signerName"] = "contract.test/nobody"
    request = await client.create(CERTIFICATE_SIGNING_REQUESTS, body)
    name = request.metadata.name
    assert name.startswith("csr-")
    try:
        approved = {"type": "Approved", "status": "True", "reason": "Test", "message": "yes"}
        decided = await client.patch(
            CERTIFICATE_SIGNING_REQUESTS,
            name,
            {"status": {"conditions": [approved], "certificate": "bm9uc2Vuc2U="}},
            subresource="approval",
        )
        assert [one.type for one in decided.status.conditions] == ["Approved"]
        assert decided.status.certificate == ""
        found = await client.list(
            CERTIFICATE_SIGNING_REQUESTS, field_selector=f"metadata.name={name}"
        )
        assert [one.status for one in found.items] == [decided.status]
    finally:
        await client.delete(CERTIFICATE_SIGNING_REQUESTS, name)
