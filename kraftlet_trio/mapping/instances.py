"""A Pod's containers as requests for instances: one each, init containers included."""

from __future__ import annotations

from collections.abc import Mapping

from kraftlet_trio.cloud.objects import (
    ImageRequest,
    InstanceRequest,
    InstanceVolumeRequest,
    ScaleToZero,
    ServiceGroupRequest,
)
from kraftlet_trio.kubernetes.pod import Container, Pod, VolumeMount
from kraftlet_trio.mapping.annotations import PodOptions
from kraftlet_trio.mapping.environment import MOST_CHARACTERS, Environment, expand
from kraftlet_trio.mapping.names import Naming, NodeIdentity, instance_tags, is_dns_label
from kraftlet_trio.mapping.problems import ConfigurationProblem, shown
from kraftlet_trio.mapping.quantities import QuantityError, memory_mib, vcpus

_PULL_POLICIES = {"Always": "always", "IfNotPresent": "if_not_present", "Never": "never"}


def instance_request(
    pod: Pod,
    container: Container,
    *,
    owner: NodeIdentity,
    naming: Naming,
    options: PodOptions,
    environment: Environment,
    group: str | ServiceGroupRequest | None,
    init: bool,
    claim_volumes: Mapping[str, str],
) -> InstanceRequest:
    """The instance that *container* of *pod* is to become.

    *group* is the name of an existing service group to join, or one to create with the instance;
    *claim_volumes* names the cloud volume of each claim that has one.

    The platform never restarts it: the restarts that Kubernetes shows are the daemon's own. An init
    instance is made stopped, and is neither published nor put to sleep.

    Raises:
        ConfigurationProblem: the container asks for what no instance can be, or its values are
            malformed.
    """
    metadata = pod.metadata
    name = naming.instance(metadata.namespace, metadata.name, container.name)
    tags = instance_tags(owner, metadata.namespace, metadata.name, metadata.uid, container.name)
    joined = None if init else _joined(group)
    scale_to_zero = None if joined is None else _scale_to_zero(options)
    autostart = options.autostart and not init
    if options.template and not init:
        return InstanceRequest(
            name=name,
            template={"name": options.template},
            autostart=autostart,
            service_group=joined,
            scale_to_zero=scale_to_zero,
            tags=tags,
        )
    try:
        memory_mb = memory_mib(container.resources)
        cpus = vcpus(container.resources)
    except QuantityError as error:
        raise ConfigurationProblem(
            "InvalidResources", f"resources of container {container.name}: {error}"
        ) from error
    return InstanceRequest(
        name=name,
        image=_image(container),
        args=_args(container, environment) or None,
        env=environment.variables or None,
        memory_mb=memory_mb,
        vcpus=cpus,
        autostart=autostart,
        restart_policy="never",
        hostname=_hostname(pod, container),
        service_group=joined,
        scale_to_zero=scale_to_zero,
        volumes=_volumes(pod, container, claim_volumes) or None,
        tags=tags,
    )


def _joined(group: str | ServiceGroupRequest | None) -> ServiceGroupRequest | None:
    return ServiceGroupRequest(name=group) if isinstance(group, str) else group


def _scale_to_zero(options: PodOptions) -> ScaleToZero | None:
    return None if options.scale_to_zero.policy == "off" else options.scale_to_zero


def _image(container: Container) -> str | ImageRequest:
    """The reference alone, unless its pull policy is not the one that Kubernetes gives it.

    Some platforms refuse the object form of an image, and only it can convey a policy.
    """
    if not container.image:
        raise ConfigurationProblem(
            "InvalidImageName", f"container {container.name} has no image; name one"
        )
    policy = container.image_pull_policy
    usual = "Always" if _is_latest(container.image) else "IfNotPresent"
    if policy not in _PULL_POLICIES or policy == usual:
        return container.image
    return ImageRequest(url=container.image, pull_policy=_PULL_POLICIES[policy])


def _is_latest(image: str) -> bool:
    """Whether an image reference is tagged ``latest``, expressly or for want of tag and digest."""
    tagged, _, digest = image.partition("@")
    _, _, tag = tagged.rpartition("/")[2].partition(":")
    return tag == "latest" or not (tag or digest)


def _args(container: Container, environment: Environment) -> tuple[str, ...]:
    args = []
    characters = 0
    for text in (*container.command, *container.args):
        arg = expand(text, environment.variables)
        characters += len(arg)
        if characters > MOST_CHARACTERS:
            raise ConfigurationProblem(
                "ArgumentsTooLarge",
                f"command and args of container {container.name} have more than "
                f"{MOST_CHARACTERS} characters; shorten them",
            )
        args.append(arg)
    return tuple(args)


def _hostname(pod: Pod, container: Container) -> str | None:
    """The Pod's host name, or one a container where several run side by side."""
    metadata = pod.metadata
    if len(pod.spec.containers) > 1:
        return Naming().instance(metadata.namespace, metadata.name, container.name)
    hostname = pod.spec.hostname or metadata.name
    return hostname if is_dns_label(hostname) else None


def _volumes(
    pod: Pod, container: Container, claim_volumes: Mapping[str, str]
) -> tuple[InstanceVolumeRequest, ...]:
    requests: dict[str, InstanceVolumeRequest] = {}
    for mount in container.volume_mounts:
        request = _volume(pod, mount, claim_volumes)
        if request is None:
            continue
        if request.name in requests:
            raise _mount_problem(
                mount, "an instance mounts a volume once; remove all but one of its mounts"
            )
        requests[request.name] = request
    return tuple(requests.values())


def _volume(
    pod: Pod, mount: VolumeMount, claim_volumes: Mapping[str, str]
) -> InstanceVolumeRequest | None:
    volume = next((volume for volume in pod.spec.volumes if volume.name == mount.name), None)
    if volume is None:
        raise _mount_problem(mount, "the Pod has no volume of that name; add it, or correct it")
    if volume.source == "projected" and volume.name.startswith("kube-api-access-"):
        # The API server puts it into nearly every Pod, and few containers of this kind need it.
        return None
    claim = volume.persistent_volume_claim
    if claim is None:
        raise _mount_problem(
            mount,
            f"a volume of kind {shown(volume.source)} cannot be mounted here; "
            "use a persistentVolumeClaim",
        )
    if mount.sub_path or mount.sub_path_expr:
        raise _mount_problem(
            mount,
            f"subPath {shown(mount.sub_path or mount.sub_path_expr)} cannot be mounted alone; "
            "mount the whole volume",
        )
    cloud_volume = claim_volumes.get(claim.claim_name)
    if cloud_volume is None:
        raise _mount_problem(
            mount,
            f"claim {shown(claim.claim_name)} has no cloud volume (yet); create it, and see that "
            "its storage class is one that this node provides",
        )
    return InstanceVolumeRequest(
        name=cloud_volume, at=_mount_path(mount), readonly=mount.read_only or claim.read_only
    )


def _mount_path(mount: VolumeMount) -> str:
    path = mount.mount_path
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not path.startswith("/") or not parts or ".." in parts or ":" in path:
        raise _mount_problem(
            mount,
            f'path {shown(path)} cannot be mounted at; write an absolute one, without ".." or ":"',
        )
    return "/" + "/".join(parts)


def _mount_problem(mount: VolumeMount, why: str) -> ConfigurationProblem:
    return ConfigurationProblem("FailedMount", f"volume mount {shown(mount.name)}: {why}")
