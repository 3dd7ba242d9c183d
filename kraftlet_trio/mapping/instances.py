"""A Pod's containers as requests for instances: one each, init containers included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kraftlet_trio.cloud.objects import (
    ImageRequest,
    InstanceRequest,
    ScaleToZero,
    ServiceGroupRequest,
)
from kraftlet_trio.kubernetes.pod import Container, Pod
from kraftlet_trio.mapping.annotations import PodOptions
from kraftlet_trio.mapping.bound_claims import ClaimVolume
from kraftlet_trio.mapping.environment import MOST_CHARACTERS, Environment, expand
from kraftlet_trio.mapping.names import Naming, NodeIdentity, instance_tags, is_dns_label
from kraftlet_trio.mapping.problems import ConfigurationProblem
from kraftlet_trio.mapping.quantities import QuantityError, memory_mib, vcpus
from kraftlet_trio.mapping.volumes import PodVolume, mounts

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
    claim_volumes: Mapping[str, ClaimVolume],
    pod_volumes: Sequence[PodVolume] = (),
) -> InstanceRequest:
    """The instance that *container* of *pod* is to become.

    *group* is the name of an existing service group to join, or one to create with the instance;
    *claim_volumes* are the cloud volumes of its claims, by the claim's name, *pod_volumes* those
    of the Pod's own.

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
        volumes=mounts(pod, container, claim_volumes=claim_volumes, pod_volumes=pod_volumes)
        or None,
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
