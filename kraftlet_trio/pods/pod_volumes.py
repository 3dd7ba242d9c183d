"""The cloud volumes that belong to one Pod alone: there before its instances, gone after them.

Both functions go by what the platform says, so either may be cut short and called again. Volumes
are made only for a Pod that carries the finalizer, under names that are the Pod's own: whoever
makes one twice meets the first.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio

from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.errors import (
    CloudRefused,
    CloudUnavailable,
    NameTaken,
    QuotaExceeded,
    ResourceBusy,
)
from kraftlet_trio.cloud.objects import VOLUME_ERROR, VOLUMES_IN_THE_MAKING, Volume
from kraftlet_trio.mapping.names import pod_uid_of, pod_uid_tag, pod_volume_of
from kraftlet_trio.mapping.problems import ConfigurationProblem, shown
from kraftlet_trio.mapping.volumes import PodVolume

FORMAT_SECONDS = 60.0
"""How long a new volume may take until it can be mounted."""
_LOOK_EVERY_SECONDS = 0.25


async def smallest_volume_mb(cloud: CloudClient) -> int:
    """Size in MiB of the account's smallest volume; 0 where it is not told."""
    try:
        return (await cloud.quotas()).limits.min_volume_mb
    except CloudRefused:
        return 0  # the platform itself will say what is too small


async def ensure(cloud: CloudClient, volumes: Iterable[PodVolume]) -> None:
    """Return once all of *volumes* exist and can be mounted.

    Raises:
        ConfigurationProblem: the platform does not have such volumes, or one of that name is
            another's.
        QuotaExceeded: not allowed now.
        CloudError: nothing is known, or one is not ready within a minute; try again.
    """
    made = [await _made(cloud, volume) for volume in volumes]
    for volume in made:
        await _await_ready(cloud, volume)


async def remove(cloud: CloudClient, pod_uid: str) -> None:
    """Return once no volume is left that belongs to the Pod alone.

    Raises:
        ResourceBusy: one is still attached, or being cleaned up; try again.
        CloudError: one could not be deleted; the others are.
    """
    failed: CloudRefused | None = None
    for volume in await cloud.list_volumes(tags=[pod_uid_tag(pod_uid)]):
        # Tags are cut short, so they alone do not tell whose a volume is.
        if pod_uid_of(volume.tags) != pod_uid or pod_volume_of(volume.tags) is None:
            continue
        try:
            await cloud.delete_volume(volume.uuid)
        except CloudRefused as error:
            failed = error
    if failed is not None:
        raise failed


async def _made(cloud: CloudClient, volume: PodVolume) -> Volume:
    """The volume, made now or by an earlier attempt."""
    request = volume.request
    try:
        return await cloud.create_volume(request)
    except NameTaken:
        present = await cloud.get_volume(request.name)
        if present is None:
            raise  # gone between two calls: the next attempt makes it
    except (QuotaExceeded, ResourceBusy):
        raise
    except CloudRefused as error:
        raise ConfigurationProblem("FailedMount", _refusal(volume, error)) from error
    if pod_uid_of(present.tags) != pod_uid_of(request.tags or ()):
        raise ConfigurationProblem(
            "FailedMount",
            f"Unikraft Cloud has a volume named {request.name} that is not this Pod's; delete it",
        )
    return present


def _refusal(volume: PodVolume, error: CloudRefused) -> str:
    name = shown(volume.volume)
    if volume.request.host_path is not None:
        return f"hostPath volume {name} is not to be had: {error}"
    if volume.request.access_mode == "rwx":
        return (
            f"volume {name} is mounted by containers that run side by side, which takes a volume "
            f"on virtiofs that several instances may write to; let one of them mount it alone, or "
            f"have the account enabled for such volumes: {error}"
        )
    return f"volume {name} cannot be made: {error}"


async def _await_ready(cloud: CloudClient, volume: Volume) -> None:
    with trio.move_on_after(FORMAT_SECONDS):
        while volume.state in VOLUMES_IN_THE_MAKING:
            await trio.sleep(_LOOK_EVERY_SECONDS)
            present = await cloud.read_volume(volume.uuid)
            if present is None:
                raise CloudUnavailable(f"volume {volume.name} has vanished while it was formatted")
            volume = present
    if volume.state in VOLUMES_IN_THE_MAKING:
        raise CloudUnavailable(
            f"volume {volume.name} is still {volume.state} after {FORMAT_SECONDS:.0f} s"
        )
    if volume.state == VOLUME_ERROR:
        raise ConfigurationProblem(
            "FailedMount", f"volume {volume.name} is broken on Unikraft Cloud; delete it there"
        )
