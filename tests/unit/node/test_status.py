"""Quotas and health as a Node's status."""

import re
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.cloud.objects import Health, Quotas, QuotaUse
from kraftlet_trio.kubernetes.objects import Condition
from kraftlet_trio.mapping.quantities import quantity
from kraftlet_trio.node.platform import Fault, Platform
from kraftlet_trio.node.settings import Capacity, CapacityCaps, NodeSettings
from kraftlet_trio.node.status import (
    capacity,
    differs,
    missing_quotas,
    node_status,
    overwritten,
    status_patch,
)

NOW = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
SETTINGS = NodeSettings(name="n", version="0.1.0", internal_ip="192.0.2.7", kubelet_port=10251)
HARD = QuotaUse(instances=64, live_vcpus=32, live_memory_mb=16384, total_volume_mb=20480)
WELL = Platform().answered(Health(checks={"images": "healthy"}), Quotas(hard=HARD))


def conditions(platform, settings=SETTINGS):
    return {c.type: c for c in node_status(settings, platform, (), NOW).conditions}


def test_capacity_is_the_hard_quota_and_all_of_it_is_allocatable():
    status = node_status(SETTINGS, WELL, (), NOW)
    assert status.capacity == {
        "cpu": "32",
        "memory": "16384Mi",
        "pods": "64",
        "ephemeral-storage": "20480Mi",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
    }
    assert status.allocatable == status.capacity


@given(st.builds(QuotaUse, instances=st.integers(0, 9), live_vcpus=st.integers(0, 9)))
def test_capacity_never_lacks_cpu_memory_or_pods(hard):
    fallback = Capacity(cpu=5, memory_mib=6, pods=7, volumes_mib=8)
    offered = capacity(Quotas(hard=hard), CapacityCaps(), fallback)
    assert min(offered.cpu, offered.memory_mib, offered.pods) > 0
    assert ("cpu" in missing_quotas(Quotas(hard=hard), CapacityCaps())) == (
        offered.cpu == 5 != hard.live_vcpus
    )


def test_account_without_any_quota_offers_the_fallback():
    offered = capacity(Quotas(), CapacityCaps(), SETTINGS.fallback_capacity)
    assert offered == SETTINGS.fallback_capacity
    assert missing_quotas(Quotas(), CapacityCaps()) == ["cpu", "memory", "pods"]
    assert missing_quotas(Quotas(hard=HARD), CapacityCaps()) == []


@given(st.integers(0, 9), st.none() | st.integers(1, 9))
def test_cap_bounds_the_quota_and_stands_in_for_a_missing_one(quota, cap):
    fallback = Capacity(cpu=5, memory_mib=6, pods=7, volumes_mib=8)
    hard = QuotaUse(instances=quota, live_vcpus=quota, live_memory_mb=quota)
    caps = CapacityCaps(cpu=cap, memory_mib=cap, pods=cap)
    offered = capacity(Quotas(hard=hard), caps, fallback)
    for amount, otherwise in ((offered.cpu, 5), (offered.memory_mib, 6), (offered.pods, 7)):
        known = [bound for bound in (quota, cap) if bound]
        assert amount == min(known, default=otherwise)
    missing = missing_quotas(Quotas(hard=hard), caps)
    assert missing == ([] if quota or cap else ["cpu", "memory", "pods"])


def test_full_memory_leaves_none_to_be_allocated():
    full = Quotas(hard=HARD, used=QuotaUse(live_memory_mb=HARD.live_memory_mb))
    status = node_status(SETTINGS, WELL.answered(Health(), full), (), NOW)
    assert status.capacity["memory"] == "16384Mi"
    assert status.allocatable == {**status.capacity, "memory": "0"}
    relieved = Quotas(hard=HARD, used=QuotaUse(live_memory_mb=HARD.live_memory_mb - 1))
    status = node_status(SETTINGS, WELL.answered(Health(), relieved), (), NOW)
    assert status.allocatable == status.capacity


@pytest.mark.parametrize(
    ("field", "condition"),
    [
        ("live_memory_mb", "MemoryPressure"),
        ("total_volume_mb", "DiskPressure"),
        ("instances", "PIDPressure"),
    ],
)
def test_used_up_quota_is_its_pressure_and_no_other(field, condition):
    for used, status in ((0, "False"), (-1, "False"), (None, "True")):
        amount = getattr(HARD, field)
        use = QuotaUse(**{field: amount if used is None else amount + used if used else 0})
        quotas = Quotas(hard=HARD, used=use)
        shown = conditions(WELL.answered(Health(), quotas))
        assert shown[condition].status == status
        others = {"MemoryPressure", "DiskPressure", "PIDPressure"} - {condition}
        assert {shown[other].status for other in others} == {"False"}
        assert shown["Ready"].status == "True"


def test_missing_quota_is_no_pressure():
    quotas = Quotas(used=QuotaUse(instances=5, live_memory_mb=500))
    shown = conditions(WELL.answered(Health(), quotas))
    assert shown["MemoryPressure"].status == shown["PIDPressure"].status == "False"


def test_well_node_speaks_as_a_kubelet_and_says_ready_last():
    shown = node_status(SETTINGS, WELL, (), NOW).conditions
    assert [(c.type, c.status, c.reason) for c in shown] == [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID"),
        ("UnikraftPlatformHealthy", "True", "PlatformHealthy"),
        ("Ready", "True", "KubeletReady"),
    ]
    assert shown[-1].message == "kubelet is posting ready status"


def test_degraded_platform_that_answers_leaves_the_node_ready():
    shown = conditions(WELL.answered(Health(checks={"systemd": "degraded"}), None))
    assert shown["Ready"].status == "True"
    assert shown["UnikraftPlatformHealthy"].status == "False"
    assert "systemd: degraded" in shown["UnikraftPlatformHealthy"].message


def test_fault_is_shown_with_its_reason():
    platform = attrs.evolve(WELL, fault=Fault("CloudUnauthorized", "wrong token"))
    shown = conditions(platform)
    assert (shown["Ready"].status, shown["Ready"].reason) == ("False", "CloudUnauthorized")
    assert shown["Ready"].message == "wrong token"
    assert shown["UnikraftPlatformHealthy"].reason == "PlatformUnreachable"


def test_without_quotas_nothing_is_claimed():
    status = node_status(SETTINGS, Platform().answered(Health(), None), (), NOW)
    shown = {c.type: c.status for c in status.conditions}
    assert shown["Ready"] == "False"
    assert shown["MemoryPressure"] == "Unknown"
    assert "capacity" not in status_patch(SETTINGS, status, "uid", ())["status"]


STATUSES = st.sampled_from(["True", "False", "Unknown"])


@given(before=st.dictionaries(st.sampled_from(["Ready", "DiskPressure", "Foreign"]), STATUSES))
def test_transition_time_moves_only_with_the_status(before):
    long_ago = NOW - timedelta(days=3)
    previous = [
        Condition(type=kind, status=status, last_transition_time=long_ago)
        for kind, status in before.items()
    ]
    for condition in node_status(SETTINGS, WELL, previous, NOW).conditions:
        same = before.get(condition.type) == condition.status
        assert condition.last_transition_time == (long_ago if same else NOW)
        assert condition.last_heartbeat_time == NOW


def test_heartbeats_alone_make_no_difference():
    first = node_status(SETTINGS, WELL, (), NOW)
    later = node_status(SETTINGS, WELL, first.conditions, NOW + timedelta(minutes=1))
    assert first != later
    assert not differs(first, later)
    full = WELL.answered(Health(), Quotas(hard=HARD, used=HARD))
    assert differs(first, node_status(SETTINGS, full, first.conditions, NOW))


def test_condition_that_somebody_overwrote_is_noticed_and_foreign_ones_are_not():
    own = node_status(SETTINGS, WELL, (), NOW).conditions
    foreign = Condition(type="NetworkUnavailable", status="False")
    assert not overwritten(own, [*own, foreign])
    late = attrs.evolve(own[-1], status="Unknown", reason="NodeStatusUnknown")
    assert overwritten(own, [*own[:-1], late])
    assert overwritten(own, own[:-1])


def test_patch_replaces_addresses_and_merges_conditions():
    status = node_status(SETTINGS, WELL, (), NOW)
    patch = status_patch(SETTINGS, status, "u-1", ())
    assert patch["metadata"] == {"uid": "u-1"}
    assert patch["status"]["addresses"] == [
        {"$patch": "replace"},
        {"type": "InternalIP", "address": "192.0.2.7"},
    ]
    assert patch["status"]["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10251}}
    assert patch["status"]["conditions"][-1] == {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
        "lastHeartbeatTime": "2026-11-01T12:00:00Z",
        "lastTransitionTime": "2026-11-01T12:00:00Z",
    }


def test_platform_condition_can_be_switched_off_and_then_goes():
    settings = attrs.evolve(SETTINGS, platform_health_condition=False)
    status = node_status(settings, WELL, (), NOW)
    assert "UnikraftPlatformHealthy" not in {c.type for c in status.conditions}
    left = [Condition(type="UnikraftPlatformHealthy", status="True")]
    gone = {"type": "UnikraftPlatformHealthy", "$patch": "delete"}
    assert gone in status_patch(settings, status, "u", left)["status"]["conditions"]
    assert gone not in status_patch(settings, status, "u", ())["status"]["conditions"]


@pytest.mark.parametrize("version", ["0.1.0", "1.2.3rc1", "0.1.0.dev4"])
def test_versions_are_what_tools_can_parse(version):
    info = node_status(attrs.evolve(SETTINGS, version=version), WELL, (), NOW).node_info
    assert re.fullmatch(r"v1\.\d+\.\d+-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*", info["kubeletVersion"])
    assert re.fullmatch(r"unikraft://.+", info["containerRuntimeVersion"])


def test_capacity_is_made_of_quantities():
    for text in node_status(SETTINGS, WELL, (), NOW).capacity.values():
        assert quantity(text) >= 0
