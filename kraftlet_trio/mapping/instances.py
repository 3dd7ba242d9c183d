"""A Pod's containers as requests for instances: one each, init containers included."""

from __future__ import annotations

import attrs

from kraftlet_trio.cloud.objects import (
    ImageRequest,
    InstanceRequest,
    InstanceVolumeRequest,
    PluginRequest,
    RomRequest,
    ScaleToZero,
    ServiceGroupRequest,
)
from kraftlet_trio.kubernetes.pod import Container, Pod
from kraftlet_trio.mapping.annotations import PodOptions
from kraftlet_trio.mapping.environment import Environment
from kraftlet_trio.mapping.names import Naming, NodeIdentity, instance_tags, is_dns_label
from kraftlet_trio.mapping.pod_phase import is_sidecar
from kraftlet_trio.mapping.problems import ConfigurationProblem
from kraftlet_trio.mapping.quantities import QuantityError, memory_mib, vcpus
from kraftlet_trio.mapping.unsupported import nameserver


def instance_request(
    pod: Pod,
    container: Container,
    *,
    owner: NodeIdentity,
    naming: Naming,
    options: PodOptions,
    image: str | ImageRequest,
    args: tuple[str, ...] | None,
    environment: Environment,
    group: str | ServiceGroupRequest | None,
    volumes: tuple[InstanceVolumeRequest, ...] = (),
    roms: tuple[RomRequest, ...] = (),
    plugins: tuple[PluginRequest, ...] = (),
    wakes_by_plugin: bool = False,
) -> InstanceRequest:
    """The instance that *container* of *pod* is to become.

    *group* is the name of an existing service group to join, or one to create with the instance.
    *wakes_by_plugin*: some of the *plugins* are called from outside, so it may sleep in between.

    The platform never restarts it: the restarts that Kubernetes shows are the daemon's own. An init
    instance is made stopped. But for a sidecar's it is neither published nor put to sleep.

    Raises:
        ConfigurationProblem: the container asks for what no instance can be, or its values are
            malformed.
    """
    metadata, wishes = pod.metadata, options.of(container.name)
    init = container in pod.spec.init_containers
    lasts = not init or is_sidecar(container)
    joined = _joined(group) if lasts else None
    sleeps = lasts and (joined is not None or wakes_by_plugin)
    request = InstanceRequest(
        name=naming.instance(metadata.namespace, metadata.name, container.name),
        autostart=options.autostart and not init,
        service_group=joined,
        scale_to_zero=_scale_to_zero(wishes.scale_to_zero) if sleeps else None,
        roms=roms or None,
        plugins=plugins or None,
        tags=instance_tags(owner, metadata.namespace, metadata.name, metadata.uid, container.name),
    )
    if wishes.template and lasts:
        return attrs.evolve(request, template={"name": wishes.template})
    try:
        memory_mb = memory_mib(container.resources, options.defaults.memory_mb)
        cpus = vcpus(container.resources, options.defaults.vcpus)
    except QuantityError as error:
        raise ConfigurationProblem(
            "InvalidResources", f"resources of container {container.name}: {error}"
        ) from error
    return attrs.evolve(
        request,
        image=image,
        args=args,
        env=environment.variables or None,
        memory_mb=memory_mb,
        vcpus=cpus,
        restart_policy="never",
        hostname=_hostname(pod, container, options.ignored),
        nameserver=nameserver(pod),
        volumes=volumes or None,
    )


def _joined(group: str | ServiceGroupRequest | None) -> ServiceGroupRequest | None:
    return ServiceGroupRequest(name=group) if isinstance(group, str) else group


def _scale_to_zero(wish: ScaleToZero) -> ScaleToZero | None:
    return None if wish.policy == "off" else wish


def _hostname(pod: Pod, container: Container, ignored: frozenset[str]) -> str | None:
    """The Pod's host name, but one of its own for a sidecar, and for each of several containers."""
    metadata = pod.metadata
    regular = [one for one in pod.spec.containers if one.name not in ignored]
    beside = container not in regular and is_sidecar(container)
    if beside or len(regular) > 1:
        return Naming().instance(metadata.namespace, metadata.name, container.name)
    hostname = pod.spec.hostname or metadata.name
    return hostname if is_dns_label(hostname) else None
