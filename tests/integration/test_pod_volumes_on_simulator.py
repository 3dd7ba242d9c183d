"""The volumes of one Pod, made and deleted on the simulated platform."""

from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from kraftlet_trio.cloud.access import CloudAccess
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.errors import CloudError, CloudUnavailable, QuotaExceeded, ResourceBusy
from kraftlet_trio.cloud.objects import InstanceRequest, InstanceVolumeRequest, VolumeRequest
from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.mapping.names import NodeIdentity, pod_volume_tags, volume_tags
from kraftlet_trio.mapping.problems import ConfigurationProblem
from kraftlet_trio.mapping.volumes import PodVolume
from kraftlet_trio.pods.pod_volumes import ensure, remove, smallest_volume_mb
from kraftlet_trio.simulators.cloud.faults import AnswerStatus, CommitThenDrop
from kraftlet_trio.simulators.cloud.settings import EXAMPLE_HARD_QUOTAS, CloudSettings
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator

TOKEN = "secret"
OWNER = NodeIdentity("c", "n")


@attrs.frozen
class Bed:
    simulator: CloudSimulator
    client: CloudClient

    @property
    def volumes(self):
        return {volume.name: volume for volume in self.simulator.account.volumes}


@asynccontextmanager
async def a_bed(**options):
    simulator = CloudSimulator(token=TOKEN, **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(simulator.run)
        access = CloudAccess(base_url="http://cloud.test", token=lambda: TOKEN)
        transport = MemoryTransport(simulator.handle, nursery)
        async with CloudClient(access, transport=transport) as client:
            yield Bed(simulator, client)
        nursery.cancel_scope.cancel()


def a_volume(name="data", uid="u", **request):
    tags = pod_volume_tags(OWNER, "default", "web", uid, name)
    size = {} if "host_path" in request else {"size_mb": 16}
    request = {"name": f"web-{name}-x2345abc", "tags": tags, **size, **request}
    return PodVolume(name, VolumeRequest(**request))


async def test_volumes_are_made_once_and_go_together(autojump_clock):
    async with a_bed() as bed:
        both = (a_volume(), a_volume("logs"))
        await ensure(bed.client, both)
        made = dict(bed.volumes)
        assert len(made) == 2
        await ensure(bed.client, both)
        assert bed.volumes == made
        await remove(bed.client, "u")
        assert bed.volumes == {}
        await remove(bed.client, "u")


async def test_only_what_is_the_pods_own_is_removed(autojump_clock):
    async with a_bed() as bed:
        await ensure(bed.client, (a_volume(), a_volume("logs", uid="u-2")))
        claim = VolumeRequest(
            name="claim", size_mb=8, tags=volume_tags(OWNER, "default", "claim", "u")
        )
        await bed.client.create_volume(claim)
        await remove(bed.client, "u")
        assert bed.volumes.keys() == {"web-logs-x2345abc", "claim"}


async def test_a_volume_of_that_name_that_is_anothers_is_left_alone_and_told_of(autojump_clock):
    async with a_bed() as bed:
        await ensure(bed.client, [a_volume(uid="another")])
        with pytest.raises(ConfigurationProblem, match="not this Pod's") as caught:
            await ensure(bed.client, [a_volume()])
        assert caught.value.reason == "FailedMount"
        await remove(bed.client, "u")
        assert len(bed.volumes) == 1


async def test_a_lost_answer_leaves_no_second_volume(autojump_clock):
    async with a_bed() as bed:
        bed.simulator.faults.add(CommitThenDrop(), method="POST")
        with pytest.raises(CloudUnavailable):
            await ensure(bed.client, [a_volume()])
        await ensure(bed.client, [a_volume()])
        assert len(bed.volumes) == 1
        await remove(bed.client, "u")
        assert bed.volumes == {}


@pytest.mark.parametrize("cut_at", range(5))
async def test_cut_short_anywhere_it_goes_on_where_it_was(autojump_clock, cut_at):
    both = (a_volume(), a_volume("logs"))
    async with a_bed() as bed:
        await ensure(bed.client, both[:1])
        bed.simulator.faults.add(AnswerStatus(500), skip=cut_at, times=20)
        for attempt in (lambda: ensure(bed.client, both), lambda: remove(bed.client, "u")):
            for _ in range(20):
                try:
                    await attempt()
                except CloudError:
                    continue
                break
        assert bed.volumes == {}


async def test_a_new_volume_is_waited_for_until_it_is_formatted(autojump_clock):
    async with a_bed(settings=CloudSettings(format_seconds=7)) as bed:
        began = trio.current_time()
        await ensure(bed.client, [a_volume(), a_volume("logs")])
        assert trio.current_time() - began == pytest.approx(7, abs=0.5)
        assert {volume.state for volume in bed.volumes.values()} == {"available"}


async def test_a_volume_that_is_never_formatted_is_not_waited_for_for_ever(autojump_clock):
    async with a_bed(settings=CloudSettings(format_seconds=1e6)) as bed:
        with pytest.raises(CloudUnavailable, match="still initializing after 60 s"):
            await ensure(bed.client, [a_volume()])


async def test_a_volume_in_use_is_removed_once_it_is_free_and_holds_up_no_other(autojump_clock):
    async with a_bed() as bed:
        await ensure(bed.client, (a_volume(), a_volume("logs")))
        mount = InstanceVolumeRequest(name="web-data-x2345abc", at="/data")
        instance = await bed.client.create_instance(
            InstanceRequest(name="web", image="app", volumes=(mount,))
        )
        with pytest.raises(ResourceBusy):
            await remove(bed.client, "u")
        assert bed.volumes.keys() == {"web-data-x2345abc"}
        await bed.client.delete_instance(instance.uuid)
        await remove(bed.client, "u")
        assert bed.volumes == {}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (
            {"filesystem": "virtiofs", "access_mode": "rwx"},
            "side by side, .* virtiofs .*let one of them mount it alone",
        ),
        ({"host_path": "/srv"}, "hostPath volume .* Managed volumes are not enabled"),
        ({"size_mb": 10**6}, 'volume "data" cannot be made'),
    ],
)
async def test_what_the_account_cannot_have_is_told(autojump_clock, request_, said):
    async with a_bed(settings=CloudSettings(filesystems=frozenset({"ext4"}))) as bed:
        with pytest.raises(ConfigurationProblem, match=said):
            await ensure(bed.client, [a_volume(**request_)])


async def test_a_full_quota_is_no_fault_of_the_pod(autojump_clock):
    async with a_bed(quotas=attrs.evolve(EXAMPLE_HARD_QUOTAS, volumes=0)) as bed:
        with pytest.raises(QuotaExceeded):
            await ensure(bed.client, [a_volume()])


async def test_the_smallest_volume_is_the_accounts(autojump_clock):
    async with a_bed() as bed:
        assert await smallest_volume_mb(bed.client) == 8
