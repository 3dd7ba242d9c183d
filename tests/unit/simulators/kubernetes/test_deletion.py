from __future__ import annotations

from datetime import datetime

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.simulators.kubernetes.deletion import DeleteOptions
from kraftlet_trio.simulators.kubernetes.errors import ApiError
from kraftlet_trio.simulators.kubernetes.resources import PODS
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator
from tests.unit.simulators.kubernetes.builders import a_claim, a_pod, request

NODE = {"nodeName": "node-1"}


def exists(cluster, name="web"):
    return cluster.storage.get(PODS, "default", name) is not None


def metadata(cluster):
    return cluster.get("pods", "web")["metadata"]


def without_finalizers(value):
    value["metadata"]["finalizers"] = []
    return value


def a_held_pod(**spec):
    pod = a_pod(**spec)
    pod["metadata"]["finalizers"] = ["example.com/hold"]
    return pod


async def test_a_bound_pod_is_marked_and_stays_until_its_node_deletes_it():
    cluster = KubernetesSimulator()
    pod = cluster.create(a_pod(**NODE))
    cluster.delete(pod)
    marked = metadata(cluster)
    assert marked["deletionGracePeriodSeconds"] == 30
    assert marked["deletionTimestamp"] > pod["metadata"]["creationTimestamp"]
    assert marked["generation"] == 2
    cluster.delete(pod, grace_seconds=0)
    assert not exists(cluster)


async def test_an_unbound_pod_goes_at_once():
    cluster = KubernetesSimulator()
    cluster.delete(cluster.create(a_pod()))
    assert not exists(cluster)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_an_ended_pod_goes_at_once(phase):
    cluster = KubernetesSimulator()
    cluster.create(a_pod(**NODE))
    cluster.change(
        "pods",
        "web",
        lambda pod: {**pod, "status": {**pod["status"], "phase": phase}},
        subresource="status",
    )
    cluster.delete(a_pod())
    assert not exists(cluster)


async def test_grace_is_the_specs_unless_the_request_says_otherwise():
    cluster = KubernetesSimulator()
    cluster.create(a_pod("own", terminationGracePeriodSeconds=7, **NODE))
    cluster.create(a_pod("asked", terminationGracePeriodSeconds=7, **NODE))
    cluster.create(a_pod("negative", **NODE))
    cluster.delete(a_pod("own"))
    cluster.delete(a_pod("asked"), grace_seconds=60)
    cluster.delete(a_pod("negative"), grace_seconds=-5)
    graces = [pod["metadata"]["deletionGracePeriodSeconds"] for pod in cluster.objects("pods")]
    assert graces == [60, 1, 7]


async def test_grace_can_only_be_shortened_and_counts_from_the_first_request(autojump_clock):
    cluster = KubernetesSimulator()
    cluster.create(a_pod(**NODE))
    cluster.delete(a_pod(), grace_seconds=100)
    first = metadata(cluster)
    await trio.sleep(10)
    cluster.delete(a_pod(), grace_seconds=200)
    cluster.delete(a_pod())
    assert metadata(cluster) == first
    cluster.delete(a_pod(), grace_seconds=40)
    shortened = metadata(cluster)
    assert shortened["deletionGracePeriodSeconds"] == 40
    assert shortened["generation"] == first["generation"]
    assert seconds_between(shortened, first) == 60


def seconds_between(earlier, later):
    def moment(value):
        return datetime.fromisoformat(value["deletionTimestamp"])

    return (moment(later) - moment(earlier)).total_seconds()


async def test_a_finalizer_outlasts_the_node():
    cluster = KubernetesSimulator()
    cluster.create(a_held_pod(**NODE))
    cluster.delete(a_pod())
    cluster.delete(a_pod(), grace_seconds=0)
    assert metadata(cluster)["deletionGracePeriodSeconds"] == 0
    cluster.change("pods", "web", without_finalizers)
    assert not exists(cluster)


async def test_the_node_outlasts_a_finalizer():
    cluster = KubernetesSimulator()
    cluster.create(a_held_pod(**NODE))
    cluster.delete(a_pod())
    cluster.change("pods", "web", without_finalizers)
    assert metadata(cluster)["deletionGracePeriodSeconds"] == 30
    cluster.delete(a_pod(), grace_seconds=0)
    assert not exists(cluster)


async def test_an_unbound_pod_with_a_finalizer_is_only_marked():
    cluster = KubernetesSimulator()
    cluster.create(a_held_pod())
    cluster.delete(a_pod())
    assert metadata(cluster)["deletionGracePeriodSeconds"] == 0
    version = metadata(cluster)["resourceVersion"]
    cluster.delete(a_pod())
    assert metadata(cluster)["resourceVersion"] == version


async def test_no_finalizer_is_added_to_what_is_being_deleted():
    cluster = KubernetesSimulator()
    cluster.create(a_held_pod())
    cluster.delete(a_pod())

    def held_more(pod):
        pod["metadata"]["finalizers"].append("example.com/more")
        return pod

    with pytest.raises(ApiError) as refused:
        cluster.change("pods", "web", held_more)
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")


async def test_a_claim_is_protected_by_its_finalizer():
    cluster = KubernetesSimulator()
    cluster.create(a_claim())
    cluster.delete(a_claim())
    claim = cluster.get("persistentvolumeclaims", "data")
    assert "deletionTimestamp" in claim["metadata"]
    cluster.change("persistentvolumeclaims", "data", without_finalizers)
    assert not cluster.objects("persistentvolumeclaims")


async def test_preconditions_guard_against_a_namesake():
    cluster = KubernetesSimulator()
    pod = cluster.create(a_pod())
    path = "/api/v1/namespaces/default/pods/web"
    wrong = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}}
    status, body = await request(cluster, "DELETE", path, wrong)
    assert (status, body["reason"]) == (409, "Conflict")
    right = {"preconditions": {"uid": pod["metadata"]["uid"]}, "gracePeriodSeconds": 0}
    status, body = await request(cluster, "DELETE", path, right)
    assert (status, body["kind"], body["metadata"]["uid"]) == (200, "Pod", pod["metadata"]["uid"])
    status, body = await request(cluster, "DELETE", path, right)
    assert (status, body["reason"]) == (404, "NotFound")


async def test_a_forced_deletion_is_seen_as_a_change_and_then_a_deletion():
    cluster = KubernetesSimulator()
    cluster.create(a_pod(**NODE))
    with cluster.storage.subscribed([PODS]) as subscription:
        cluster.delete(a_pod(), grace_seconds=0)
        changes = subscription.take()
    assert [change.deleted for change in changes] == [False, True]
    assert changes[0].current.value["metadata"]["deletionGracePeriodSeconds"] == 0


steps = st.lists(
    st.one_of(
        st.tuples(st.just("delete"), st.none() | st.integers(-1, 60)),
        st.tuples(st.just("release"), st.none()),
        st.tuples(st.just("touch"), st.none()),
    ),
    max_size=8,
)


@given(steps, st.booleans(), st.booleans())
def test_a_pod_goes_exactly_when_nothing_holds_it(steps, bound, held):
    async def run():
        cluster = KubernetesSimulator()
        cluster.create((a_held_pod if held else a_pod)(**(NODE if bound else {})))
        finalizers, grace = held, None
        for step, seconds in steps:
            if not exists(cluster):
                break
            match step:
                case "delete":
                    cluster.registry.delete(
                        PODS, "default", "web", DeleteOptions(grace_seconds=seconds)
                    )
                    asked = 30 if seconds is None else max(seconds, 0) or int(seconds < 0)
                    asked = asked if bound else 0
                    if grace is None or (seconds is not None and asked < grace):
                        grace = asked
                case "release":
                    cluster.change("pods", "web", without_finalizers)
                    finalizers = False
                case _:
                    cluster.change("pods", "web", lambda pod: pod)
            assert exists(cluster) == (grace is None or grace > 0 or finalizers)
            if exists(cluster):
                assert metadata(cluster).get("deletionGracePeriodSeconds") == grace

    trio.run(run)
