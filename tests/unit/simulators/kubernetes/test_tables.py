from __future__ import annotations

import orjson
import pytest

from kraftlet_trio.http.messages import Request
from kraftlet_trio.simulators.kubernetes.durations import human_duration
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator
from tests.unit.simulators.kubernetes.builders import a_claim, a_node, a_pod, a_volume

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def rows(cluster, path, **headers):
    response = await cluster.handle(
        Request(method="GET", path=path, headers={"accept": TABLE, **headers})
    )
    table = orjson.loads(response.body)
    assert table["kind"] == "Table"
    names = [column["name"] for column in table["columnDefinitions"]]
    return [dict(zip(names, row["cells"], strict=True)) for row in table["rows"]]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (330, "5m30s"),
        (3599, "59m"),
        (10_800, "3h"),
        (11_000, "3h3m"),
        (170_000, "47h"),
        (180_000, "2d2h"),
        (700_000, "8d"),
        (86400 * 365 * 3, "3y"),
    ],
)
def test_durations(seconds, text):
    assert human_duration(seconds) == text


def status_of(spec, status, **metadata):
    async def row():
        cluster = KubernetesSimulator()
        cluster.create(a_pod(nodeName="node-1", **spec))
        cluster.change(
            "pods",
            "web",
            lambda pod: {**pod, "status": {**pod["status"], **status}},
            subresource="status",
        )
        if metadata.get("deleted"):
            cluster.delete(a_pod())
        (only,) = await rows(cluster, "/api/v1/pods")
        return only["Status"], only["Ready"], only["Restarts"]

    return row()


def container(name="app", *, ready=False, restarts=0, **state):
    return {"name": name, "ready": ready, "restartCount": restarts, "state": state}


def waiting(reason):
    return {"waiting": {"reason": reason}}


RUNNING = {"phase": "Running", "containerStatuses": [container(ready=True, running={})]}
INIT = {"initContainers": [{"name": "one", "image": "i"}, {"name": "two", "image": "i"}]}
SIDECAR = {"initContainers": [{"name": "proxy", "image": "i", "restartPolicy": "Always"}]}
INITIALIZED = {"conditions": [{"type": "Initialized", "status": "True"}]}


@pytest.mark.parametrize(
    ("spec", "status", "expected"),
    [
        ({}, {}, ("Pending", "0/1", "0")),
        ({}, RUNNING, ("Running", "1/1", "0")),
        (
            {},
            {"containerStatuses": [container(**waiting("ContainerCreating"))]},
            ("ContainerCreating", "0/1", "0"),
        ),
        (
            {},
            {"phase": "Running"}
            | {"containerStatuses": [container(restarts=3, **waiting("CrashLoopBackOff"))]},
            ("CrashLoopBackOff", "0/1", "3"),
        ),
        (
            {"restartPolicy": "Never"},
            {"phase": "Succeeded"}
            | {"containerStatuses": [container(terminated={"exitCode": 0, "reason": "Completed"})]},
            ("Completed", "0/1", "0"),
        ),
        (
            {},
            {"phase": "Failed", "containerStatuses": [container(terminated={"exitCode": 3})]},
            ("ExitCode:3", "0/1", "0"),
        ),
        ({}, {"phase": "Failed", "reason": "Evicted"}, ("Evicted", "0/1", "0")),
        (
            INIT,
            {
                "initContainerStatuses": [
                    container("one", terminated={"exitCode": 0}),
                    container("two", restarts=2, running={}),
                ],
                "containerStatuses": [container(**waiting("PodInitializing"))],
            },
            ("Init:1/2", "0/1", "2"),
        ),
        (
            INIT,
            {
                "initContainerStatuses": [
                    container("one", terminated={"exitCode": 1, "reason": "Error"})
                ]
            },
            ("Init:Error", "0/1", "0"),
        ),
        (
            SIDECAR,
            RUNNING
            | INITIALIZED
            | {
                "initContainerStatuses": [
                    {**container("proxy", ready=True, running={}), "started": True}
                ]
            },
            ("Running", "2/2", "0"),
        ),
    ],
)
async def test_a_pods_row(spec, status, expected):
    assert await status_of(spec, status) == expected


async def test_a_deleted_pod_is_terminating():
    assert (await status_of({}, RUNNING, deleted=True))[0] == "Terminating"


async def test_a_nodes_row():
    cluster = KubernetesSimulator()
    node = a_node(unschedulable=True)
    node["metadata"]["labels"]["node-role.kubernetes.io/agent"] = ""
    node["status"] |= {
        "nodeInfo": {"kubeletVersion": "v1.37.0"},
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
    }
    cluster.create(node)
    (row,) = await rows(cluster, "/api/v1/nodes")
    assert row["Status"] == "Ready,SchedulingDisabled"
    assert (row["Roles"], row["Version"], row["Internal-IP"]) == ("agent", "v1.37.0", "10.0.0.1")


async def test_rows_of_claims_and_volumes():
    cluster = KubernetesSimulator()
    cluster.create(a_claim())
    cluster.create(a_volume(claimRef={"namespace": "default", "name": "data"}))
    (claim,) = await rows(cluster, "/api/v1/persistentvolumeclaims")
    assert (claim["Status"], claim["StorageClass"], claim["Volume"]) == ("Pending", "fast", "")
    (volume,) = await rows(cluster, "/api/v1/persistentvolumes")
    assert (volume["Capacity"], volume["Access Modes"]) == ("10Mi", "RWO")
    assert (volume["Reclaim Policy"], volume["Claim"]) == ("Retain", "default/data")


async def test_every_kind_has_a_table():
    cluster = KubernetesSimulator()
    for path in ("/api/v1/configmaps", "/api/v1/serviceaccounts", "/api/v1/namespaces"):
        assert {"Name", "Age"} <= (await rows(cluster, path))[0].keys()
    services = await rows(cluster, "/api/v1/services")
    assert services[0]["Port(s)"] == "443/TCP"


@pytest.mark.parametrize("include", ["Object", "Metadata", "None"])
async def test_rows_carry_as_much_of_the_object_as_asked(include):
    cluster = KubernetesSimulator()
    cluster.create(a_pod())
    response = await cluster.handle(
        Request(
            method="GET",
            path="/api/v1/namespaces/default/pods/web",
            query_string=f"includeObject={include}",
            headers={"accept": TABLE},
        )
    )
    (row,) = orjson.loads(response.body)["rows"]
    kind = row.get("object", {}).get("kind")
    assert kind == {"Object": "Pod", "Metadata": "PartialObjectMetadata", "None": None}[include]
