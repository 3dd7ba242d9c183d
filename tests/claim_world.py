"""A world for claims alone: both simulators, and provisioners between them."""

from contextlib import asynccontextmanager, suppress

import attrs
import trio

from kraftlet_trio.cloud.access import CloudAccess
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import ClusterAccess
from kraftlet_trio.kubernetes.events import EventRecorder
from kraftlet_trio.kubernetes.informer import run_informer
from kraftlet_trio.kubernetes.resources import PERSISTENT_VOLUME_CLAIMS
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.names import NodeIdentity
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator
from kraftlet_trio.simulators.kubernetes.errors import ApiError
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator
from kraftlet_trio.volumes.provisioner import run_claim_provisioner
from kraftlet_trio.volumes.settings import ClaimSettings

TOKEN = "secret"


@attrs.define
class ClaimWorld:
    """Both simulators, and provisioners that may be killed at any of their requests."""

    cluster: KubernetesSimulator
    cloud: CloudSimulator
    nursery: trio.Nursery
    claims: list = attrs.field(factory=list)
    requests: int = 0
    kill_at: int | None = None
    """The provisioner dies at its so many-th request from now on."""
    kill_after_commit: bool = False
    _life: trio.CancelScope | None = None

    def start(self, node="n"):
        self.nursery.start_soon(self._run, node)

    def kill(self):
        if self._life is not None:
            self._life.cancel()

    def _mortal(self, handler):
        async def handle(request):
            counts = not ("watch=" in request.query_string or "/leases" in request.path)
            if counts and self.kill_at is not None:
                self.kill_at -= 1
                if self.kill_at <= 0:
                    self.kill_at = None
                    if self.kill_after_commit:
                        await handler(request)
                    self.kill()
                    await trio.sleep_forever()
            self.requests += counts
            return await handler(request)

        return handle

    async def _run(self, node):
        with trio.CancelScope() as self._life:
            async with (
                trio.open_nursery() as streams,
                KubernetesClient(
                    ClusterAccess(server="http://kubernetes.test"),
                    transport=MemoryTransport(self._mortal(self.cluster.handle), streams),
                ) as kubernetes,
                self.client(self._mortal(self.cloud.handle), streams) as cloud,
                trio.open_nursery() as nursery,
            ):
                claims, changed = Store(), Doorbell()
                events = EventRecorder("kraftlet", node)
                nursery.start_soon(events.post_forever, kubernetes)
                await nursery.start(
                    run_informer,
                    kubernetes,
                    PERSISTENT_VOLUME_CLAIMS,
                    claims,
                    lambda _: changed.ring(),
                )
                await run_claim_provisioner(
                    kubernetes,
                    cloud,
                    claims,
                    changed,
                    events,
                    ClaimSettings(namespace="default"),
                    NodeIdentity("c", node),
                )

    def client(self, handler, streams):
        access = CloudAccess(base_url="http://cloud.test", token=lambda: TOKEN)
        return CloudClient(access, transport=MemoryTransport(handler, streams))

    @asynccontextmanager
    async def user(self):
        """Somebody else's client of the platform."""
        async with trio.open_nursery() as streams:
            async with self.client(self.cloud.handle, streams) as client:
                yield client
            streams.cancel_scope.cancel()

    def create_claim(self, name="data", *, size="10Mi", storage_class="ukc-volume", **spec):
        return self.cluster.create(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {
                    "storageClassName": storage_class,
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": size}},
                    **spec,
                },
            }
        )

    def claim(self, name="data"):
        return self.cluster.get("persistentvolumeclaims", name)

    def delete_claim(self, name="data"):
        with suppress(ApiError):  # there is none any more
            self.cluster.delete(self.claim(name))

    @property
    def persistent_volumes(self):
        return self.cluster.objects("persistentvolumes")

    @property
    def volumes(self):
        return {volume.name: volume for volume in self.cloud.account.volumes}

    def events(self, reason):
        return [one for one in self.cluster.objects("events") if one["reason"] == reason]

    def create_class(self, name="ukc-volume", **fields):
        self.cluster.create(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": name},
                "provisioner": "volumes.unikraft.cloud",
                "allowVolumeExpansion": True,
                **fields,
            }
        )

    def ask_for(self, size, name="data"):
        """Change what a claim asks for."""

        def larger(value):
            value["spec"]["resources"]["requests"]["storage"] = size
            return value

        self.cluster.change("persistentvolumeclaims", name, larger)

    def conditions(self, name="data"):
        return {one["type"] for one in self.claim(name)["status"].get("conditions", ())}

    async def until(self, condition, seconds=60.0):
        with trio.fail_after(seconds):
            while True:
                if condition():
                    return
                await trio.sleep(0.1)

    async def until_bound(self, name="data"):
        await self.until(lambda: self.claim(name)["status"].get("phase") == "Bound")


@asynccontextmanager
async def a_claim_world(**cloud_options):
    async with trio.open_nursery() as nursery:
        cluster, cloud = KubernetesSimulator(), CloudSimulator(token=TOKEN, **cloud_options)
        await nursery.start(cluster.run)
        await nursery.start(cloud.run)
        yield ClaimWorld(cluster, cloud, nursery)
        nursery.cancel_scope.cancel()
