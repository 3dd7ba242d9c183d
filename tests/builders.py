"""Builders of the objects that a test is about: everything has a plain default."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.cloud.objects import Instance, InstanceServiceGroup
from kraftlet_trio.kubernetes.objects import ObjectMeta
from kraftlet_trio.kubernetes.pod import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    PodSpec,
    PodStatus,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)

CLEAN_KERNEL_EXIT = 0x8100
OUT_OF_MEMORY = 0x0C7F04


def ago(seconds: float) -> datetime:
    """A moment before ``NOW``."""
    return NOW - timedelta(seconds=seconds)


def a_container(name: str = "app", **fields: Any) -> Container:
    return Container(name=name, **{"image": f"{name}:latest", **fields})


def a_sidecar(name: str = "proxy", **fields: Any) -> Container:
    """An init container that runs beside the others."""
    return a_container(name, restart_policy="Always", **fields)


def a_pod(
    *,
    containers: Iterable[str | Container] = ("app",),
    init: Iterable[str | Container] = (),
    restart_policy: str = "Always",
    grace_seconds: int | None = 30,
    deleted: bool = False,
    deletion_grace_seconds: int = 30,
    status: PodStatus = PodStatus(),  # noqa: B008 (immutable)
    **metadata: Any,
) -> Pod:
    """A Pod whose containers are given by name or in full, being deleted since ``NOW`` or not."""

    def whole(given: Iterable[str | Container]) -> tuple[Container, ...]:
        return tuple(a_container(one) if isinstance(one, str) else one for one in given)

    if deleted:
        metadata["deletion_timestamp"] = NOW + timedelta(seconds=deletion_grace_seconds)
        metadata["deletion_grace_period_seconds"] = deletion_grace_seconds
    return Pod(
        metadata=ObjectMeta(
            **{"name": "web", "namespace": "default", "uid": "uid-of-web", "generation": 1}
            | metadata
        ),
        spec=PodSpec(
            containers=whole(containers),
            init_containers=whole(init),
            restart_policy=restart_policy,
            termination_grace_period_seconds=grace_seconds,
        ),
        status=status,
    )


def an_instance(name: str = "app", state: str = cloud.RUNNING, **fields: Any) -> Instance:
    """The instance of the container *name*: started 100 s before ``NOW`` unless said otherwise."""
    group = fields.pop("group", None)
    if group is not None:
        fields["service_group"] = InstanceServiceGroup(name=group)
    return Instance(
        **{
            "uuid": f"uuid-of-{name}",
            "name": f"web-{name}",
            "state": state,
            "created_at": ago(100),
            "started_at": ago(100),
            "private_ip": "10.0.0.1",
        }
        | fields
    )


def a_stopped_instance(
    name: str = "app",
    stop_reason: int = cloud.STOP_KERNEL | cloud.STOP_APPLICATION,
    *,
    exit_code: int | None = None,
    stop_code: int | None = None,
    seconds_ago: float = 10,
    **fields: Any,
) -> Instance:
    """One whose run is over: by default its application exited."""
    return an_instance(
        name,
        cloud.STOPPED,
        stop_reason=stop_reason,
        stop_code=stop_code,
        exit_code=exit_code,
        **{"stopped_at": ago(seconds_ago)} | fields,
    )


def an_exited_instance(name: str = "app", exit_code: int = 0, **fields: Any) -> Instance:
    return a_stopped_instance(name, exit_code=exit_code, stop_code=CLEAN_KERNEL_EXIT, **fields)


def a_new_instance(name: str = "app", **fields: Any) -> Instance:
    """One that was made and never started."""
    return an_instance(name, cloud.STOPPED, started_at=None, **fields)


def an_instance_without_image(name: str = "app", **fields: Any) -> Instance:
    """One whose start failed because the platform could not fetch its image."""
    return a_stopped_instance(name, cloud.STOP_PLATFORM, stop_code=1, started_at=None, **fields)


def waiting(name: str = "app", reason: str = "ContainerCreating", **fields: Any) -> ContainerStatus:
    state = ContainerState(waiting=ContainerStateWaiting(reason=reason))
    return _a_status(name, state, **fields)


def running(name: str = "app", *, seconds: float = 100, **fields: Any) -> ContainerStatus:
    state = ContainerState(running=ContainerStateRunning(started_at=ago(seconds)))
    return _a_status(name, state, **{"ready": True, "started": True, **fields})


def terminated(name: str = "app", exit_code: int = 0, **fields: Any) -> ContainerStatus:
    """Of an ``an_exited_instance``, where nothing else is said."""
    return _a_status(name, an_end(name, exit_code), **fields)


def an_end(name: str = "app", exit_code: int = 0, *, seconds_ago: float = 10) -> ContainerState:
    return ContainerState(
        terminated=ContainerStateTerminated(
            exit_code=exit_code,
            reason="Error" if exit_code else "Completed",
            started_at=ago(100),
            finished_at=ago(seconds_ago),
            container_id=f"unikraft://uuid-of-{name}",
        )
    )


def _a_status(name: str, state: ContainerState, **fields: Any) -> ContainerStatus:
    known = {
        "image": f"{name}:latest",
        "container_id": f"unikraft://uuid-of-{name}",
        "ready": False,
        "started": False,
    }
    return ContainerStatus(name=name, state=state, **known | fields)


def a_status(
    *containers: ContainerStatus, init: Iterable[ContainerStatus] = (), phase: str = "Running"
) -> PodStatus:
    """What was reported of a Pod."""
    return PodStatus(
        phase=phase, container_statuses=containers, init_container_statuses=tuple(init)
    )
