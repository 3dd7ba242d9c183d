"""What holds at every moment, whatever the daemon does: looked at after each of its requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import attrs

from kraftlet_trio.cloud.objects import STOP_APPLICATION, STOP_KERNEL, STOPPED
from kraftlet_trio.http.messages import Request
from kraftlet_trio.mapping.annotations import SERVICE_GROUPS
from kraftlet_trio.simulators.cloud.records import Instance
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator
from kraftlet_trio.simulators.kubernetes.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
)
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator
from tests.manifests import Json

_BY_ITSELF = STOP_KERNEL | STOP_APPLICATION
TERMINAL = ("Succeeded", "Failed")


@attrs.define
class Monitor:
    """Notes down each breach once; tests look at ``breaches``, for the daemon survives a raise."""

    cluster: KubernetesSimulator
    cloud: CloudSimulator
    finalizer: str
    """What a Pod has to carry while anything of it is in the cloud; empty for nothing."""
    breaches: list[str] = attrs.field(factory=list)
    foreign: set[str] = attrs.field(factory=set)
    """Names of cloud resources that the test itself made."""
    _restarts: dict[tuple[str, str], int] = attrs.field(factory=dict)
    _phases: dict[str, str] = attrs.field(factory=dict)

    def broken(self, what: str) -> None:
        if what not in self.breaches:
            self.breaches.append(what)

    def before(self, api: str, request: Request) -> None:
        if api != "cloud":
            return
        _, _, kind, *rest = request.path.split("/")
        match request.method, kind, rest:
            case "DELETE", "services", [uuid]:
                for group in self.cloud.account.groups:
                    if group.uuid == uuid and group.instances:
                        self.broken(f"group {group.name} is deleted while it has instances")
            case "PUT", "instances", [uuid, "start"]:
                for instance in self.cloud.account.instances:
                    if instance.uuid == uuid and self._is_done(instance):
                        self.broken(f"instance {instance.name} is started although it is done")

    def _is_done(self, instance: Instance) -> bool:
        """Whether nobody may run it again: its Pod is over, or its one success is all it is for."""
        uid, container = tag(instance.tags, "uid"), tag(instance.tags, "container")
        pod = next(
            (one.value for one in self.cluster.storage.objects(PODS) if one.uid == uid), None
        )
        if pod is None or pod.get("status", {}).get("phase") in TERMINAL:
            return True
        if instance.state != STOPPED or instance.start_count == 0:
            return False
        own: Json = next((one for one in pod["spec"]["containers"] if one["name"] == container), {})
        if own.get("restartPolicyRules"):
            return False  # the rules have tests of their own
        policy = own.get("restartPolicy", pod["spec"]["restartPolicy"])
        init = [
            one["name"]
            for one in pod["spec"].get("initContainers", ())
            if one.get("restartPolicy") != "Always"
        ]
        succeeded = instance.stop.exit_code == 0 and instance.stop.reason == _BY_ITSELF
        return policy == "Never" or (succeeded and (policy == "OnFailure" or container in init))

    def after(self) -> None:
        pods = {pod.uid: pod.value for pod in self.cluster.storage.objects(PODS)}
        for breach in (
            *self._instances(pods),
            *self._groups(pods),
            *self._volumes(pods),
            *self._statuses(pods),
        ):
            self.broken(breach)

    def _instances(self, pods: dict[str, Json]) -> Iterator[str]:
        owners: Counter[tuple[str, str]] = Counter()
        for instance in self.cloud.account.instances:
            if instance.name in self.foreign:
                continue
            uid, container = tag(instance.tags, "uid"), tag(instance.tags, "container")
            owners[uid, container] += 1
            pod = pods.get(uid)
            if pod is None:
                yield f"instance {instance.name} has outlived its Pod"
            elif not self._is_marked(pod):
                yield f"instance {instance.name} is there while its Pod has no finalizer"
            else:
                yield from _order_of_init_containers(pod, container, instance, self.cloud)
        for (uid, container), count in owners.items():
            if count > 1:
                yield f"container {container} of Pod {uid} has {count} instances"

    def _is_marked(self, pod: Json) -> bool:
        return not self.finalizer or self.finalizer in pod["metadata"].get("finalizers", ())

    def _groups(self, pods: dict[str, Json]) -> Iterator[str]:
        noted = {
            name
            for pod in pods.values()
            if self._is_marked(pod)
            for name in pod["metadata"].get("annotations", {}).get(SERVICE_GROUPS, "").split(",")
        }
        for group in self.cloud.account.groups:
            if group.persistent and group.name not in noted | self.foreign:
                yield f"group {group.name} is there while no Pod is noted to need it"

    def _volumes(self, pods: dict[str, Json]) -> Iterator[str]:
        storage = self.cluster.storage
        owners: Counter[tuple[str, str]] = Counter()
        claims = {claim.uid for claim in storage.objects(PERSISTENT_VOLUME_CLAIMS)}
        for volume in storage.objects(PERSISTENT_VOLUMES):
            claims.add(volume.value["spec"].get("claimRef", {}).get("uid", ""))
        for volume in self.cloud.account.volumes:
            if volume.name in self.foreign:
                continue
            uid, name = tag(volume.tags, "uid"), tag(volume.tags, "volume")
            owners[uid, name] += 1
            if name and uid not in pods:
                yield f"volume {volume.name} has outlived its Pod"
            elif name and not self._is_marked(pods[uid]):
                yield f"volume {volume.name} is there while its Pod has no finalizer"
            elif not name and uid not in claims:
                yield f"volume {volume.name} has outlived its claim"
        for (uid, name), count in owners.items():
            if count > 1:
                yield f"{f'volume {name} of Pod' if name else 'claim'} {uid} has {count} volumes"

    def _statuses(self, pods: dict[str, Json]) -> Iterator[str]:
        for uid, pod in pods.items():
            name, status = pod["metadata"]["name"], pod.get("status", {})
            before, phase = self._phases.get(uid, ""), status.get("phase", "")
            self._phases[uid] = phase
            if before in TERMINAL and phase != before:
                yield f"Pod {name} went from {before} to {phase}"
            if before == "Running" and phase == "Pending":
                yield f"Pod {name} went from Running to Pending"
            conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
            for condition, needed in (
                ("Ready", "ContainersReady"),
                ("ContainersReady", "Initialized"),
            ):
                if conditions.get(condition) == "True" and conditions.get(needed) != "True":
                    yield f"Pod {name} is {condition} but not {needed}"
            for one in _container_statuses(status):
                key, count = (uid, one["name"]), one["restartCount"]
                if count < self._restarts.get(key, 0):
                    yield (
                        f"restartCount of {name}/{one['name']} fell "
                        f"from {self._restarts[key]} to {count}"
                    )
                self._restarts[key] = max(count, self._restarts.get(key, 0))


def tag(tags: tuple[str, ...], key: str) -> str:
    """Value of the tag ``k8s.io:<key>``, empty where there is none."""
    prefix = f"k8s.io:{key}="
    return next((one.removeprefix(prefix) for one in tags if one.startswith(prefix)), "")


def _container_statuses(status: Json) -> list[Json]:
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def _order_of_init_containers(
    pod: Json, container: str, instance: Instance, cloud: CloudSimulator
) -> Iterator[str]:
    """A container has begun only if all init containers before it have succeeded."""
    if instance.start_count == 0:
        return
    statuses: dict[str, Any] = {
        one["name"]: one for one in pod.get("status", {}).get("initContainerStatuses", ())
    }
    uid = pod["metadata"]["uid"]
    for init in pod["spec"].get("initContainers", ()):
        if init["name"] == container:
            return
        if init.get("restartPolicy") == "Always":
            continue
        told = statuses.get(init["name"], {}).get("state", {}).get("terminated", {"exitCode": 1})
        there = any(
            tag(one.tags, "uid") == uid
            and tag(one.tags, "container") == init["name"]
            and one.state == "stopped"
            and one.stop.exit_code == 0
            for one in cloud.account.instances
        )
        if told.get("exitCode", 0) != 0 and not there:
            yield f"{instance.name} has begun before {init['name']} succeeded"
