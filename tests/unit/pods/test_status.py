import json

import attrs
import pytest

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.kubernetes.objects import Condition
from kraftlet_trio.kubernetes.pod import IP, ContainerState, Pod, PodStatus
from kraftlet_trio.kubernetes.serialization import structure, unstructure
from kraftlet_trio.mapping.pod_status import pod_status
from kraftlet_trio.pods.status import has_drifted, status_patch
from kraftlet_trio.simulators.kubernetes.resources import PODS
from kraftlet_trio.simulators.kubernetes.strategic_merge import strategic_merge
from tests.builders import (
    NOW,
    a_pod,
    a_status,
    ago,
    an_end,
    an_exited_instance,
    an_instance,
    running,
    terminated,
    waiting,
)

FOREIGN = Condition(type="example.com/feature-gate", status="False", reason="NotYet")


def status_after(pod, *instances, **options):
    known = {one.name.removeprefix("web-"): one for one in instances}
    defaults = {"host_ip": "192.0.2.1", "now": NOW, "stopped_for_good": False}
    return pod_status(pod, pod.status, known, {}, **defaults | options)


def written(pod, status):
    """The Pod as the API server holds it after the write."""
    patch = json.loads(json.dumps(status_patch(pod, status)))
    return structure(strategic_merge(PODS, unstructure(pod), patch), Pod)


def lives():
    """Statuses of a Pod from its beginning to its end, each with what was there before it."""
    pod = a_pod(init=["setup"], restart_policy="OnFailure")
    done = an_exited_instance("setup", private_ip="10.0.0.2")
    for instances in (
        [],
        [an_instance("setup", private_ip="10.0.0.2")],
        [an_exited_instance("setup", exit_code=1, private_ip="10.0.0.2")],
        [done],
        [done, an_instance(state=cloud.STARTING, private_ip="10.0.0.1")],
        [done, an_instance()],
        [done, an_exited_instance(exit_code=3)],
        [done],
        [done, an_instance(uuid="another", started_at=ago(1))],
        [done, an_exited_instance(uuid="another", seconds_ago=0)],
    ):
        status = status_after(pod, *instances)
        yield pod, status
        pod = attrs.evolve(pod, status=status)


@pytest.mark.parametrize(("pod", "status"), list(lives()))
def test_a_written_status_is_held_as_it_was_meant(pod, status):
    assert written(pod, status).status == status
    assert not has_drifted(written(pod, status).status, status)


def test_a_condition_loses_the_reason_it_had():
    pod = a_pod(status=status_after(a_pod(), an_instance(state=cloud.STARTING)))
    before = {one.type: one.reason for one in pod.status.conditions}
    assert before["Ready"] == "ContainersNotReady"
    after = {
        one.type: one for one in written(pod, status_after(pod, an_instance())).status.conditions
    }
    assert (after["Ready"].status, after["Ready"].reason, after["Ready"].message) == (
        "True",
        "",
        "",
    )


def test_the_conditions_of_others_stay():
    pod = a_pod(status=attrs.evolve(a_status(), conditions=(FOREIGN,)))
    conditions = written(pod, status_after(pod, an_instance())).status.conditions
    assert FOREIGN in conditions
    assert len(conditions) == 6


def test_an_address_that_changed_replaces_the_one_before():
    pod = a_pod(status=status_after(a_pod(), an_instance(private_ip="10.0.0.1")))
    moved = status_after(pod, an_instance(private_ip="10.0.0.9"), host_ip="192.0.2.9")
    held = written(pod, moved).status
    assert (held.pod_ip, held.pod_ips) == ("10.0.0.9", (IP(ip="10.0.0.9"),))
    assert (held.host_ip, held.host_ips) == ("192.0.2.9", (IP(ip="192.0.2.9"),))


def test_a_patch_is_good_for_one_incarnation_of_the_pod_and_leaves_the_quality_of_service_alone():
    patch = status_patch(a_pod(), attrs.evolve(a_status(running()), qos_class="Burstable"))
    assert patch["metadata"] == {"uid": "uid-of-web"}
    assert "qosClass" not in patch["status"]


@pytest.mark.parametrize("status", [waiting(), running(), terminated(), terminated(exit_code=1)])
def test_a_container_status_has_all_that_the_api_requires(status):
    status = attrs.evolve(status, image="")
    for patch in (
        status_patch(a_pod(), a_status(status))["status"]["containerStatuses"],
        status_patch(a_pod(), a_status(init=[status]))["status"]["initContainerStatuses"],
    ):
        [sent] = patch
        assert {"name", "image", "imageID", "ready", "restartCount", "state", "started"} <= set(
            sent
        )
        assert len(sent["state"]) == 1


REPORTED = attrs.evolve(
    a_status(running(), init=[terminated("setup")]),
    conditions=(Condition(type="Ready", status="True"),),
)


def changed(**fields):
    return attrs.evolve(REPORTED, **fields)


@pytest.mark.parametrize(
    "present",
    [
        pytest.param(changed(phase="Failed"), id="phase"),
        pytest.param(changed(conditions=()), id="condition gone"),
        pytest.param(
            changed(conditions=(Condition(type="Ready", status="False"),)), id="condition turned"
        ),
        pytest.param(changed(container_statuses=()), id="containers gone"),
        pytest.param(changed(init_container_statuses=()), id="init containers gone"),
        pytest.param(changed(container_statuses=(running(ready=False),)), id="not ready"),
        pytest.param(changed(container_statuses=(running(restart_count=1),)), id="restarts"),
        pytest.param(changed(container_statuses=(terminated(),)), id="state"),
        pytest.param(
            changed(container_statuses=(attrs.evolve(running(), state=ContainerState()),)),
            id="no state",
        ),
        pytest.param(PodStatus(), id="everything"),
    ],
)
def test_what_others_changed_is_drift(present):
    assert has_drifted(present, REPORTED)


@pytest.mark.parametrize(
    "present",
    [
        pytest.param(REPORTED, id="nothing"),
        pytest.param(changed(qos_class="Burstable"), id="not ours"),
        pytest.param(changed(conditions=(*REPORTED.conditions, FOREIGN)), id="foreign condition"),
        pytest.param(
            changed(container_statuses=(running(allocated_resources={"cpu": "1"}),)),
            id="dropped by some versions",
        ),
        pytest.param(changed(observed_generation=3), id="generation"),
        pytest.param(
            changed(container_statuses=(running(last_state=an_end(exit_code=1)),)),
            id="history",
        ),
    ],
)
def test_what_versions_of_the_api_server_keep_differently_is_no_drift(present):
    assert not has_drifted(present, REPORTED)
