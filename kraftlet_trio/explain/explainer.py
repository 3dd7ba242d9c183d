"""What manifests would become, found out by the daemon's own code.

Its observer and its gathering of an instance's parts run here over a cluster in memory that holds
the manifests, and over a cloud where nothing exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import attrs
import cattrs
import trio

from kraftlet_trio.cloud.access import CloudAccess
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.cloud.objects import ServiceGroupRequest, Volume
from kraftlet_trio.cloud.serialization import unstructure
from kraftlet_trio.consoles.consoles import Consoles
from kraftlet_trio.explain.cluster import Fetch, ManifestCluster
from kraftlet_trio.explain.defaults import fill_in_pod, fill_in_service
from kraftlet_trio.explain.explanation import Explanation, PodExplanation, Remark, Resource
from kraftlet_trio.explain.manifests import Json, ManifestError, PodManifest, claims_of, pods_of
from kraftlet_trio.explain.reasons import of_claim, of_group, of_instance, of_pod_volume
from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.http.messages import Request, Response, json_response
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import ClusterAccess
from kraftlet_trio.kubernetes.errors import KubernetesError
from kraftlet_trio.kubernetes.events import EventRecorder
from kraftlet_trio.kubernetes.object_watches import ObjectWatches
from kraftlet_trio.kubernetes.objects import (
    ClaimResources,
    ObjectMeta,
    OwnerReference,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    Service,
    StorageClass,
)
from kraftlet_trio.kubernetes.pod import Pod, PodUID
from kraftlet_trio.kubernetes.serialization import structure
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.annotations import SERVICE_GROUPS
from kraftlet_trio.mapping.bound_claims import claim_name
from kraftlet_trio.mapping.claims import (
    DRIVER,
    STORAGE_CLASS,
    is_provisioned_here,
    persistent_volume,
    volume_request,
)
from kraftlet_trio.mapping.names import NodeIdentity, persistent_volume_name
from kraftlet_trio.mapping.problems import ConfigurationProblem, ConfigurationWarning
from kraftlet_trio.mapping.services import ContainerGroup, selecting
from kraftlet_trio.pods.context import PodContext
from kraftlet_trio.pods.images import ContainerImages
from kraftlet_trio.pods.inputs import InstanceInputs
from kraftlet_trio.pods.observation import PodObserver
from kraftlet_trio.probes.means import ProbeMeans
from kraftlet_trio.services.groups import ServiceGroups
from kraftlet_trio.services.index import ServiceIndex
from kraftlet_trio.settings import Settings

T = TypeVar("T")

_CLUSTER = "uid-of-kube-system"


async def explain(
    manifests: Iterable[Json], settings: Settings, *, fetch: Fetch | None = None
) -> Explanation:
    """What the daemon of *settings* would make of *manifests*.

    *fetch* reads further objects from a real cluster; without it those that are not given are
    assumed.

    Raises:
        ManifestError: an object has not the form that its kind has.
        KubernetesError: *fetch* raised it.
    """
    explainer = _Explainer(list(manifests), settings, ManifestCluster(fetch))
    failure: ManifestError | KubernetesError | None = None
    explanation = Explanation()
    async with trio.open_nursery() as nursery:
        try:
            explanation = await explainer.run(nursery)
        except (ManifestError, KubernetesError) as error:
            failure = error  # alone, not in the nursery's group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return explanation


async def _nothing_exists(_: Request) -> Response:
    return json_response({"status": "error", "message": "there is no cloud behind this"}, 404)


@attrs.define
class _Explainer:
    _manifests: list[Json]
    _settings: Settings
    _cluster: ManifestCluster
    _owner: NodeIdentity = attrs.field(init=False)
    _pods: Store[Pod] = attrs.field(factory=Store, init=False)
    _services: Store[Service] = attrs.field(factory=Store, init=False)
    _claims: Store[PersistentVolumeClaim] = attrs.field(factory=Store, init=False)
    _volumes: list[Resource] = attrs.field(factory=list, init=False)
    _refusals: list[Remark] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._owner = NodeIdentity(_CLUSTER, self._settings.node.name)

    async def run(self, nursery: trio.Nursery) -> Explanation:
        manifests = [*self._manifests, *claims_of(self._manifests)]
        for manifest in manifests:
            self._cluster.add(manifest)
        self._add_services(manifests)
        found = pods_of(self._manifests)
        pods = [(one, self._pod(one)) for one in found]
        self._add_claims(manifests, [pod for _, pod in pods])
        self._pods.replace([pod for _, pod in pods])
        async with (
            KubernetesClient(
                ClusterAccess(server="http://manifests.invalid"),
                transport=MemoryTransport(self._cluster.handle, nursery),
            ) as kubernetes,
            CloudClient(
                CloudAccess(base_url="http://cloud.invalid", token=lambda: ""),
                transport=MemoryTransport(_nothing_exists, nursery),
            ) as cloud,
        ):
            context = self._context(kubernetes, cloud)
            explained = [await self._explained(one, pod, context) for one, pod in pods]
        return Explanation(
            pods=tuple(explained),
            volumes=tuple(self._volumes),
            refusals=tuple(self._refusals),
            assumptions=tuple(self._cluster.assumptions),
        )

    def _pod(self, found: PodManifest) -> Pod:
        manifest = found.manifest
        metadata = manifest["metadata"]
        if not isinstance(manifest.get("spec"), dict):
            raise ManifestError(f"Pod {metadata['name']} has no spec")
        fill_in_pod(manifest)
        self._cluster.add_needs(manifest)
        pod = _read(manifest, Pod)
        annotations = {
            key: value for key, value in pod.metadata.annotations.items() if key != SERVICE_GROUPS
        }
        # As if nothing had been made for it yet.
        fresh = attrs.evolve(pod.metadata, annotations=annotations, finalizers=())
        return attrs.evolve(pod, metadata=fresh)

    def _add_services(self, manifests: Iterable[Json]) -> None:
        services = []
        master = {
            "kind": "Service",
            "metadata": {"name": "kubernetes", "namespace": "default"},
            "spec": {"ports": [{"name": "https", "port": 443}]},
        }
        for manifest in (master, *manifests):
            if manifest["kind"] == "Service":
                fill_in_service(manifest)
                services.append(_read(_identified(manifest), Service))
        self._services.replace(services)

    def _add_claims(self, manifests: list[Json], pods: list[Pod]) -> None:
        classes = {
            one["metadata"]["name"]: _read(one, StorageClass)
            for one in manifests
            if one["kind"] == "StorageClass"
        }
        claims = [
            self._bound(_read(_identified(one), PersistentVolumeClaim), classes)
            for one in manifests
            if one["kind"] == "PersistentVolumeClaim"
        ]
        given = {(one.metadata.namespace, one.metadata.name) for one in claims}
        for pod in pods:
            for claim in _mounted_claims(pod):
                key = (claim.metadata.namespace, claim.metadata.name)
                if key not in given:
                    given.add(key)
                    claims.append(self._assumed(claim))
        self._claims.replace(claims)

    def _bound(
        self, claim: PersistentVolumeClaim, classes: Mapping[str, StorageClass]
    ) -> PersistentVolumeClaim:
        """*claim* as it is once its volume was made, which is explained."""
        name = claim.metadata.name
        if claim.status.phase == "Bound":
            return claim
        storage_class = classes.get(claim.spec.storage_class_name or "")
        ours = storage_class.provisioner == DRIVER if storage_class else None
        if not (is_provisioned_here(claim, None) if ours is None else ours):
            return claim
        try:
            request = volume_request(
                claim, storage_class, owner=self._owner, naming=self._settings.pods.naming, min_mb=0
            )
        except ConfigurationProblem as problem:
            self._refusals.append(Remark(problem.reason, f"claim {name}: {problem.message}"))
            return claim
        self._volumes.append(
            Resource(
                "volume",
                request.name,
                f"claim {name}",
                unstructure(request),
                of_claim(claim, request),
            )
        )
        return self._with_volume(claim, request.name, storage_class)

    def _assumed(self, claim: PersistentVolumeClaim) -> PersistentVolumeClaim:
        name = claim.metadata.name
        self._cluster.assumptions[f"claim {name} is there, and bound to a cloud volume"] = None
        return self._with_volume(claim, f"of claim {name}", None)

    def _with_volume(
        self, claim: PersistentVolumeClaim, volume: str, storage_class: StorageClass | None
    ) -> PersistentVolumeClaim:
        stand_in = Volume(uuid=f"<uuid of volume {volume}>", name=volume)
        self._cluster.add(persistent_volume(claim, storage_class, stand_in))
        name = persistent_volume_name(claim.metadata.uid)
        return attrs.evolve(
            claim,
            spec=attrs.evolve(claim.spec, volume_name=name),
            status=attrs.evolve(claim.status, phase="Bound"),
        )

    def _context(self, kubernetes: KubernetesClient, cloud: CloudClient) -> PodContext:
        index = ServiceIndex(self._services)
        index.refresh(service.metadata.uid for service in self._services.values())

        async def no_state(_: str) -> str:
            return ""

        feed = InstanceFeed(cloud, tags=self._owner.tags, interval=1.0)
        return PodContext(
            settings=self._settings.pods,
            owner=self._owner,
            kubernetes=kubernetes,
            cloud=cloud,
            feed=feed,
            groups=ServiceGroups(cloud, lambda _: None),
            events=EventRecorder("explain", self._settings.node.name),
            pods=self._pods,
            services=index,
            claims=self._claims,
            images=ContainerImages(kubernetes, None),
            object_watches=ObjectWatches(kubernetes, lambda _, __: None),
            means=ProbeMeans(sandbox=cloud.sandbox, read_state=no_state),
            consoles=Consoles(cloud, feed),
            node=lambda: None,
            on_quota_refusal=lambda: None,
        )

    async def _explained(self, found: PodManifest, pod: Pod, context: PodContext) -> PodExplanation:
        observer = PodObserver(context, PodUID(pod.metadata.uid))
        observed = observer.observe()
        assert observed is not None, "all Pods are in the store"
        wishes = observer.wishes
        warnings = [Remark(one.reason, one.message) for one in wishes.warnings]
        refusals = []
        if observed.refusal is not None:
            refusals.append(Remark(observed.refusal.reason, observed.refusal.message))
        if observed.blocked:
            refusals.append(Remark("FailedValidation", observed.blocked))

        def warn(warning: ConfigurationWarning, container: str) -> None:
            warnings.append(Remark(warning.reason, warning.message, container))

        inputs = InstanceInputs(context, observer, warn)
        resources = [
            *self._groups(pod, wishes.groups),
            *(
                Resource(
                    "volume",
                    own.request.name,
                    f"volume {own.volume} of the Pod",
                    unstructure(own.request),
                    of_pod_volume(pod, own),
                )
                for own in wishes.own_volumes
            ),
        ]
        for container in (*pod.spec.init_containers, *pod.spec.containers):
            if container.name in wishes.options.ignored:
                continue
            try:
                request = await inputs.request(container)
            except ConfigurationProblem as problem:
                refusals.append(Remark(problem.reason, problem.message, container.name))
                continue
            init = container in pod.spec.init_containers
            resources.append(
                Resource(
                    "instance",
                    request.name,
                    f"{'init ' if init else ''}container {container.name}",
                    unstructure(request),
                    of_instance(pod, container, request, wishes.options),
                )
            )
        return PodExplanation(
            pod=f"{pod.metadata.namespace}/{pod.metadata.name}",
            made_by=found.made_by,
            resources=tuple(resources),
            warnings=tuple(dict.fromkeys(warnings)),
            refusals=tuple(refusals),
        )

    def _groups(self, pod: Pod, groups: Mapping[str, ContainerGroup]) -> Iterator[Resource]:
        services = [one.metadata.name for one in selecting(pod, self._services.values())]
        for container, group in groups.items():
            request = ServiceGroupRequest(
                name=group.name, services=group.services, domains=group.domains or None
            )
            yield Resource(
                "service group",
                group.name,
                f"container {container}",
                unstructure(request),
                of_group(group, services),
            )


def _read(manifest: Json, cls: type[T]) -> T:
    try:
        return structure(manifest, cls)
    except cattrs.BaseValidationError as error:
        metadata = manifest.get("metadata", {})
        faults = "; ".join(cattrs.transform_error(error, path=manifest["kind"]))
        raise ManifestError(f"{manifest['kind']} {metadata.get('name')}: {faults}") from error


def _identified(manifest: Json) -> Json:
    """With a uid, where it has none."""
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {"uid": f"uid-of-{metadata['name']}", **metadata}}


def _mounted_claims(pod: Pod) -> Iterator[PersistentVolumeClaim]:
    """The claims that *pod* refers to, as they would be if they were there."""
    for volume in pod.spec.volumes:
        name = claim_name(pod, volume)
        if name is None:
            continue
        owner = OwnerReference(kind="Pod", uid=pod.metadata.uid, controller=True)
        yield PersistentVolumeClaim(
            metadata=ObjectMeta(
                name=name,
                namespace=pod.metadata.namespace,
                uid=f"uid-of-{name}",
                owner_references=() if volume.ephemeral is None else (owner,),
            ),
            spec=PersistentVolumeClaimSpec(
                storage_class_name=STORAGE_CLASS,
                access_modes=("ReadWriteOnce",),
                resources=ClaimResources(requests={"storage": "1"}),
            ),
        )
