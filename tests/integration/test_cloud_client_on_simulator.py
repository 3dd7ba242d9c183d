"""One suite of what the client and the feed rely on, against the simulated platform.

It runs in memory under a mocked clock, and once more over real HTTP.
"""

import math
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

import attrs
import pytest
import trio
from trio.testing import MockClock

from kraftlet_trio.cloud.access import CloudAccess
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.console import ConsolePart
from kraftlet_trio.cloud.errors import (
    CloudRefused,
    CloudUnauthorized,
    CloudUnavailable,
    NameTaken,
    QuotaExceeded,
    ResourceBusy,
    ResourceNotFound,
)
from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.cloud.objects import (
    RUNNING,
    STANDBY,
    STOPPED,
    DomainRequest,
    InstancePatch,
    InstanceRequest,
    InstanceVolumeRequest,
    ScaleToZero,
    Service,
    ServiceGroupRequest,
    VolumeRequest,
)
from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.http.server import serve
from kraftlet_trio.simulators.cloud.faults import (
    AnswerHtml,
    AnswerStatus,
    CommitThenDrop,
    DropBefore,
)
from kraftlet_trio.simulators.cloud.images import ImageCatalogue
from kraftlet_trio.simulators.cloud.settings import EXAMPLE_HARD_QUOTAS, CloudSettings
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator

TOKEN = "secret"
NODE = "kraftlet:node=n"
IMAGES = """
images:
  job: {run_seconds: 0.2, exit_code: 7}
  unpullable: {pull: fail}
  talk: {run_seconds: 0.1, log: [one, two]}
  busy: {busy_cpus: 0.5}
"""
WEB = Service(port=443, destination_port=8080, handlers=("tls", "http"))


@attrs.frozen
class Bed:
    simulator: CloudSimulator
    client: CloudClient

    async def until(self, name, state):
        """The instance, once it is in *state*."""
        with trio.fail_after(20):
            while True:
                [instance] = await self.client.get_instances(names=[name])
                if instance.state == state:
                    return instance
                await trio.sleep(0.02)


@asynccontextmanager
async def a_bed(front, token=TOKEN, **options):
    simulator = CloudSimulator(token=TOKEN, images=ImageCatalogue.parse(IMAGES), **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(simulator.run)
        if front == "memory":
            base_url, transport = "http://cloud.test", MemoryTransport(simulator.handle, nursery)
        else:
            port = await nursery.start(partial(serve, simulator.handle, host="127.0.0.1", port=0))
            base_url, transport = f"http://127.0.0.1:{port}", None
        access = CloudAccess(base_url=base_url, token=lambda: token)
        async with CloudClient(access, transport=transport) as client:
            yield Bed(simulator, client)
        nursery.cancel_scope.cancel()


def on(*fronts):
    """Run a coroutine function of the bed-making function once a front, by its own clock."""

    def decorate(test):
        @pytest.mark.parametrize("front", fronts)
        def run(front):
            clock = MockClock(autojump_threshold=0) if front == "memory" else None
            trio.run(test, partial(a_bed, front), clock=clock)

        return run

    return decorate


on_both_fronts = on("memory", "http")
in_memory = on("memory")
"""For what takes long."""


def an_instance(name="web", **fields):
    fields = {"image": "app", "autostart": True, "tags": (NODE, "k8s.io:uid=p"), **fields}
    return InstanceRequest(name=name, **fields)


@on_both_fronts
async def test_instance_lives_and_goes(a_bed):
    async with a_bed() as bed:
        created = await bed.client.create_instance(
            an_instance(memory_mb=64, args=("/bin/app", "-v"), env={"A": "1"})
        )
        running = await bed.until("web", RUNNING)
        assert running.uuid == created.uuid
        assert (running.memory_mb, running.args, running.env) == (
            64,
            ("/bin/app", "-v"),
            {"A": "1"},
        )
        assert running.tags == created.tags
        assert running.private_ip
        await bed.client.stop_instance(created.uuid, drain_timeout_ms=100)
        stopped = await bed.until("web", STOPPED)
        assert stopped.stopped_at >= stopped.started_at >= stopped.created_at
        await bed.client.start_instance(created.uuid)
        await bed.client.start_instance(created.uuid)
        assert (await bed.until("web", RUNNING)).start_count == 2
        await bed.client.delete_instance(created.uuid)
        await bed.client.delete_instance(created.uuid)
        assert await bed.client.get_instances(uuids=[created.uuid], names=["web"]) == []


@on_both_fronts
async def test_end_of_a_guest_is_told(a_bed):
    async with a_bed() as bed:
        await bed.client.create_instance(an_instance("job", image="job"))
        await bed.client.create_instance(an_instance("lost", image="unpullable"))
        ended = await bed.until("job", STOPPED)
        assert (ended.exit_code, ended.stop_reason) == (7, 3)
        lost = await bed.until("lost", STOPPED)
        assert (lost.stop_reason, lost.stop_code, lost.exit_code) == (4, 1, None)


@on_both_fronts
async def test_name_is_had_once_and_missing_parts_are_named(a_bed):
    async with a_bed() as bed:
        await bed.client.create_instance(an_instance())
        with pytest.raises(NameTaken):
            await bed.client.create_instance(an_instance())
        missing = InstanceVolumeRequest(name="nowhere", at="/data")
        with pytest.raises(ResourceNotFound, match="nowhere"):
            await bed.client.create_instance(an_instance("other", volumes=(missing,)))
        with pytest.raises(ResourceNotFound):
            await bed.client.create_instance(
                an_instance("other", service_group=ServiceGroupRequest(name="nowhere"))
            )
        with pytest.raises(CloudRefused):
            await bed.client.create_instance(an_instance("other", memory_mb=1))


@on_both_fronts
async def test_quota_is_told_and_held(a_bed):
    async with a_bed(quotas=attrs.evolve(EXAMPLE_HARD_QUOTAS, instances=1)) as bed:
        await bed.client.create_instance(an_instance())
        with pytest.raises(QuotaExceeded):
            await bed.client.create_instance(an_instance("more"))
        quotas = await bed.client.quotas()
        assert (quotas.hard.instances, quotas.used.instances) == (1, 1)
        assert quotas.limits.min_volume_mb == 8


@on_both_fronts
async def test_everything_of_an_instance_request_is_accepted(a_bed):
    async with a_bed() as bed:
        await bed.client.create_volume(VolumeRequest(name="data", size_mb=8, access_mode="rwo"))
        group = await bed.client.create_service_group(
            ServiceGroupRequest(name="sg", services=(WEB,), domains=(DomainRequest(name="shop"),))
        )
        await bed.client.create_instance(
            an_instance(
                vcpus=1,
                restart_policy="never",
                hostname="web-0",
                service_group=ServiceGroupRequest(name="sg"),
                scale_to_zero=ScaleToZero(policy="on", stateful=True, cooldown_time_ms=2000),
                volumes=(InstanceVolumeRequest(name="data", at="/data"),),
            )
        )
        running = await bed.until("web", RUNNING)
        assert running.service_group.uuid == group.uuid
        assert running.service_group.domains[0].fqdn.startswith("shop.")
        assert running.volumes[0].at == "/data"
        assert running.scale_to_zero.cooldown_time_ms == 2000


@on_both_fronts
async def test_new_properties_wait_for_the_next_run_and_tags_do_not(a_bed):
    async with a_bed() as bed:
        created = await bed.client.create_instance(an_instance(memory_mb=64))
        await bed.until("web", RUNNING)
        tags = (*created.tags, "more")
        await bed.client.update_instance(
            created.uuid, InstancePatch(image="app:2", memory_mb=96, env={"B": "2"}, tags=tags)
        )
        waiting = await bed.until("web", RUNNING)
        assert waiting.memory_mb == 64
        assert {one.prop for one in waiting.updates} >= {"image", "memory_mb", "env"}
        await bed.client.stop_instance(created.uuid)
        stopped = await bed.until("web", STOPPED)
        assert (stopped.memory_mb, stopped.env, stopped.updates) == (96, {"B": "2"}, ())
        assert stopped.image != waiting.image
        assert set(stopped.tags) == set(tags)
        with pytest.raises(ResourceNotFound):
            await bed.client.update_instance(str(uuid4()), InstancePatch(memory_mb=96))


@on_both_fronts
async def test_console_is_read_from_either_end_while_it_lasts(a_bed):
    async with a_bed() as bed:
        created = await bed.client.create_instance(an_instance("talk", image="talk"))
        await bed.until("talk", STOPPED)
        whole = await bed.client.read_console(created.uuid, offset=0)
        assert whole.data == b"one\ntwo\n"
        assert (whole.start, whole.end, whole.available_end) == (0, 8, 8)
        tail = await bed.client.read_console(created.uuid, offset=-4)
        assert (tail.data, tail.start) == (b"two\n", 4)
        beyond = await bed.client.read_console(created.uuid, offset=8)
        assert (beyond.data, beyond.end) == (b"", 8)
        with pytest.raises(ResourceNotFound):
            await bed.client.read_console(str(uuid4()), offset=0)


@on_both_fronts
async def test_parts_of_many_consoles_are_read_at_once(a_bed):
    async with a_bed() as bed:
        uuids = []
        for name in ("talk", "chat"):
            uuids.append((await bed.client.create_instance(an_instance(name, image="talk"))).uuid)
            await bed.until(name, STOPPED)
        gone = str(uuid4())
        parts = [ConsolePart(gone, 0), ConsolePart(uuids[0], 4), ConsolePart(uuids[1], 0, 0)]
        reading = await bed.client.read_consoles(parts)
        assert {uuid: page.data for uuid, page in reading.pages.items()} == {
            uuids[0]: b"two\n",
            uuids[1]: b"",
        }
        assert {page.available_end for page in reading.pages.values()} == {8}
        assert reading.missing == {gone}


@on_both_fronts
async def test_volume_grows(a_bed):
    async with a_bed() as bed:
        volume = await bed.client.create_volume(VolumeRequest(name="data", size_mb=16))
        await bed.client.grow_volume(volume.uuid, 32)
        assert (await bed.client.get_volume("data")).size_mb == 32


@on_both_fronts
async def test_metrics_are_read_of_those_that_there_are(a_bed):
    async with a_bed() as bed:
        created = await bed.client.create_instance(an_instance(image="busy"))
        await bed.client.create_instance(an_instance("other"))
        await bed.until("web", RUNNING)
        await trio.sleep(0.5)
        [metrics] = await bed.client.read_metrics([created.uuid, str(uuid4())])
        assert (metrics.uuid, metrics.start_count) == (created.uuid, 1)
        assert metrics.cpu_time_ms >= 200
        assert metrics.rss_bytes > 0


@in_memory
async def test_metrics_wake_nobody(a_bed):
    async with a_bed(settings=CloudSettings(idle_instances_go_to_standby=True)) as bed:
        created = await bed.client.create_instance(
            an_instance(
                service_group=ServiceGroupRequest(services=(WEB,)),
                scale_to_zero=ScaleToZero(policy="on", cooldown_time_ms=1000),
            )
        )
        asleep = await bed.until("web", STANDBY)
        for _ in range(10):
            [metrics] = await bed.client.read_metrics([created.uuid])
            assert metrics.start_count == asleep.start_count
            await trio.sleep(1)
        assert (await bed.until("web", STANDBY)).start_count == asleep.start_count


@on_both_fronts
async def test_service_group_is_made_changed_and_deleted(a_bed):
    async with a_bed() as bed:
        created = await bed.client.create_service_group(
            ServiceGroupRequest(name="sg", services=(WEB,))
        )
        with pytest.raises(NameTaken):
            await bed.client.create_service_group(ServiceGroupRequest(name="sg", services=(WEB,)))
        group = await bed.client.get_service_group("sg")
        assert group.uuid == created.uuid
        assert group.persistent
        assert group.services == (attrs.evolve(WEB, protocol=group.services[0].protocol),)
        assert len(group.domains) == 1
        plain = Service(port=80, destination_port=8080, handlers=("http",))
        await bed.client.update_service_group(group.uuid, services=(WEB, plain))
        await bed.client.update_service_group(group.uuid, domains=(DomainRequest(name="shop"),))
        group = await bed.client.get_service_group("sg")
        assert [service.port for service in group.services] == [443, 80]
        assert [domain.fqdn.split(".")[0] for domain in group.domains] == ["shop"]
        assert [one.uuid for one in await bed.client.list_service_groups()] == [group.uuid]
        await bed.client.delete_service_group(group.uuid)
        await bed.client.delete_service_group(group.uuid)
        assert await bed.client.get_service_group("sg") is None
        with pytest.raises(ResourceNotFound):
            await bed.client.update_service_group(group.uuid, services=(WEB,))


@on_both_fronts
async def test_volume_is_busy_while_attached_and_found_by_its_tags(a_bed):
    async with a_bed() as bed:
        tags = (NODE, "k8s.io:namespace=default", "k8s.io:pvc=data")
        volume = await bed.client.create_volume(VolumeRequest(name="data", size_mb=10, tags=tags))
        await bed.client.create_volume(VolumeRequest(name="else", size_mb=10, tags=tags[:2]))
        found = await bed.client.list_volumes(tags=[tags[2], tags[0]])
        assert [(one.uuid, one.size_mb, one.tags) for one in found] == [(volume.uuid, 10, tags)]
        mount = InstanceVolumeRequest(name="data", at="/data")
        instance = await bed.client.create_instance(an_instance(volumes=(mount,)))
        await bed.until("web", RUNNING)
        assert (await bed.client.get_volume("data")).attached_to[0].uuid == instance.uuid
        with pytest.raises(ResourceBusy):
            await bed.client.delete_volume(volume.uuid)
        await bed.client.delete_instance(instance.uuid)
        await bed.client.delete_volume(volume.uuid)
        await bed.client.delete_volume(volume.uuid)
        assert await bed.client.get_volume("data") is None


@on_both_fronts
async def test_long_list_is_whole(a_bed):
    quotas = attrs.evolve(EXAMPLE_HARD_QUOTAS, instances=1000, live_vcpus=1000)
    async with a_bed(quotas=quotas) as bed:
        for number in range(230):
            tags = (NODE,) if number % 2 else (NODE, "odd=no")
            await bed.client.create_instance(an_instance(f"i{number}", autostart=False, tags=tags))
        everything = await bed.client.list_instances(tags=[NODE])
        assert [one.name for one in everything] == [f"i{number}" for number in range(230)]
        assert len(await bed.client.list_instances(tags=[NODE, "odd=no"])) == 115
        reading = await bed.client.read_instances(
            [*(one.uuid for one in everything[:120]), "6f0e1c1e-0000-4000-8000-000000000000"]
        )
        assert len(reading.found) == 120
        assert reading.missing == {"6f0e1c1e-0000-4000-8000-000000000000"}


@on_both_fronts
async def test_images_and_health_are_told(a_bed):
    async with a_bed() as bed:
        assert set((await bed.client.health()).checks.values()) <= {"healthy", "unknown"}
        await bed.client.create_instance(an_instance("job", image="job"))
        await bed.until("job", STOPPED)
        assert any("job" in image.url for image in await bed.client.list_images())


@on_both_fronts
async def test_wrong_token_is_unauthorized(a_bed):
    async with a_bed(token="wrong") as bed:
        with pytest.raises(CloudUnauthorized):
            await bed.client.quotas()


@on_both_fronts
async def test_lost_answer_to_a_create_leaves_something_to_find(a_bed):
    async with a_bed() as bed:
        bed.simulator.faults.add(CommitThenDrop(), method="POST")
        with pytest.raises(CloudUnavailable):
            await bed.client.create_instance(an_instance())
        [found] = await bed.client.get_instances(names=["web"])
        assert found.tags == (NODE, "k8s.io:uid=p")
        assert (
            sum(bed.simulator.requests[key] for key in bed.simulator.requests if "POST" in key) == 1
        )


@in_memory
async def test_other_calls_outlast_lost_answers_and_proxies(a_bed):
    async with a_bed() as bed:
        created = await bed.client.create_instance(an_instance())
        for effect in (AnswerHtml(), AnswerStatus(503), DropBefore(), CommitThenDrop()):
            bed.simulator.faults.add(effect)
            await bed.client.stop_instance(created.uuid)
            bed.simulator.faults.add(effect)
            await bed.client.start_instance(created.uuid)
            bed.simulator.faults.add(effect)
            assert len(await bed.client.list_instances(tags=[NODE])) == 1
        bed.simulator.faults.add(CommitThenDrop(), method="DELETE")
        await bed.client.delete_instance(created.uuid)
        assert await bed.client.list_instances(tags=[NODE]) == []


@in_memory
async def test_feed_follows_one_node_only(a_bed):
    async with a_bed() as bed, trio.open_nursery() as nursery:
        await bed.client.create_instance(an_instance("before"))
        await bed.client.create_instance(an_instance("foreign", tags=("kraftlet:node=m",)))
        feed, changed = InstanceFeed(bed.client, tags=[NODE], interval=0.5), []
        await nursery.start(feed.run, changed.append)
        assert [one.name for one in feed.of_pod("p").values()] == ["before"]
        job = await bed.client.create_instance(
            an_instance("job", image="job", tags=(NODE, "k8s.io:uid=q"))
        )
        feed.put(job)
        feed.watch_closely(job.uuid)
        await trio.sleep(1)
        assert feed.instances[job.uuid].state == STOPPED
        assert feed.of_pod("q")[job.uuid].exit_code == 7
        assert set(changed) == {"p", "q"}
        bed.simulator.faults.add(AnswerHtml(), times=math.inf)
        await trio.sleep(2)
        assert len(feed.instances) == 2
        bed.simulator.faults.clear()
        await trio.sleep(5)
        await bed.client.delete_instance(job.uuid)
        await trio.sleep(2)
        assert feed.of_pod("q") == {}
        nursery.cancel_scope.cancel()


@on_both_fronts
async def test_deleted_instance_leaves_its_name_even_where_the_platform_retains_instances(a_bed):
    async with a_bed(settings=CloudSettings(retention_seconds=600)) as bed:
        first = await bed.client.create_instance(an_instance("web"))
        await bed.client.delete_instance(first.uuid)
        second = await bed.client.create_instance(an_instance("web"))
        assert second.uuid != first.uuid
