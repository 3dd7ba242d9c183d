import attrs
import pytest

from kraftlet_trio.kubernetes.objects import Node, ObjectMeta
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.kubernetes.serialization import structure
from kraftlet_trio.pods.admission import Refusal, refusal
from kraftlet_trio.pods.context import PodSettings
from tests.manifests import a_pod

SETTINGS = PodSettings(node_name="kraftlet", host_ip="")
OURS = Node(metadata=ObjectMeta(name="kraftlet", labels={"zone": "fra", "cpus": "8"}))


def refused(*, daemon_set_pods="ignore", node=OURS, owners=(), **spec):
    manifest = a_pod("web", **spec)
    manifest["metadata"]["ownerReferences"] = list(owners)
    settings = attrs.evolve(SETTINGS, daemon_set_pods=daemon_set_pods)
    return refusal(structure(manifest, Pod), settings, node)


def required(*terms):
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}
        }
    }


def expression(key, operator, *values):
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def an_owner(kind="DaemonSet", version="apps/v1", *, controller=True):
    return {"apiVersion": version, "kind": kind, "name": "d", "uid": "u", "controller": controller}


def test_a_plain_pod_is_welcome():
    assert refused() is None
    assert (
        refused(os={"name": "linux"}, nodeSelector={"kubernetes.io/os": "linux"}, node=None) is None
    )


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"os": {"name": "windows"}}, "PodOSNotSupported"),
        (
            {"nodeSelector": {"kubernetes.io/os": "windows"}},
            "PodOSSelectorNodeLabelDoesNotMatch",
        ),
        ({"nodeSelector": {"zone": "dal"}}, "NodeAffinity"),
        ({"affinity": required(expression("zone", "In", "dal"))}, "NodeAffinity"),
    ],
)
def test_what_can_never_run_here_fails_as_at_a_kubelet(spec, reason):
    found = refused(**spec)
    assert found.action == "fail"
    assert found.reason == reason
    assert found.message.startswith("Pod was rejected: ")


@pytest.mark.parametrize(
    ("term", "chosen"),
    [
        (expression("zone", "In", "dal", "fra"), True),
        (expression("zone", "NotIn", "fra"), False),
        (expression("zone", "Exists"), True),
        (expression("gpu", "Exists"), False),
        (expression("gpu", "DoesNotExist"), True),
        (expression("gpu", "NotIn", "a"), True),
        (expression("cpus", "Gt", "4"), True),
        (expression("cpus", "Lt", "8"), False),
        (expression("zone", "Gt", "4"), False),
        (
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["kraftlet"]}]},
            True,
        ),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["other"]}]}, False),
        ({}, False),
    ],
)
def test_required_affinity_chooses_by_labels_and_name(term, chosen):
    assert (refused(affinity=required(term)) is None) == chosen


def test_one_term_that_holds_is_enough():
    terms = expression("zone", "In", "dal"), expression("zone", "In", "fra")
    assert refused(affinity=required(*terms)) is None


def test_labels_that_are_not_known_yet_keep_nobody_away():
    assert refused(nodeSelector={"zone": "dal"}, node=None) is None


def test_daemon_sets_pods_are_left_alone_refused_or_run():
    owners = [an_owner()]
    left, failed = refused(owners=owners), refused(owners=owners, daemon_set_pods="refuse")
    assert isinstance(left, Refusal)
    assert isinstance(failed, Refusal)
    assert left.action == "leave"
    assert failed.action == "fail"
    assert failed.message.startswith("Pod was rejected: ")
    assert "KRAFTLET_DAEMON_SET_PODS" in left.message
    assert "KRAFTLET_DAEMON_SET_PODS" in failed.message
    assert refused(owners=owners, daemon_set_pods="run") is None


@pytest.mark.parametrize(
    "owner",
    [an_owner("ReplicaSet"), an_owner(controller=False), an_owner(version="example.com/v1")],
)
def test_only_a_daemon_set_that_controls_the_pod_counts(owner):
    assert refused(owners=[owner]) is None
