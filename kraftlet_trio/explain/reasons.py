"""Why each field of a cloud resource has the value that it has, in terms of the manifests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from kraftlet_trio.cloud.objects import ImageRequest, InstanceRequest, VolumeRequest
from kraftlet_trio.cloud.serialization import unstructure
from kraftlet_trio.kubernetes.objects import PersistentVolumeClaim
from kraftlet_trio.kubernetes.pod import Container, EnvVar, Pod
from kraftlet_trio.mapping.annotations import (
    AUTOSTART,
    SCALE_TO_ZERO_COOLDOWN,
    SCALE_TO_ZERO_POLICY,
    SCALE_TO_ZERO_STATEFUL,
    TEMPLATE,
    PodOptions,
)
from kraftlet_trio.mapping.quantities import QuantityError, quantity
from kraftlet_trio.mapping.services import ContainerGroup
from kraftlet_trio.mapping.volumes import DEFAULT_EMPTY_DIR_MIB, PodVolume


@attrs.frozen
class Field:
    name: str
    value: Any
    """As JSON; None where the field is left out."""
    reason: str


def of_instance(
    pod: Pod, container: Container, request: InstanceRequest, options: PodOptions
) -> tuple[Field, ...]:
    """Of the instance that *container* becomes."""
    return tuple(_instance_fields(pod, container, request, options))


def of_group(group: ContainerGroup, services: Sequence[str]) -> tuple[Field, ...]:
    """*services* are the names of the Services that select the Pod, the oldest first."""
    names = ", ".join(services)
    fields = [
        Field("name", group.name, "the oldest Service that leads to the container"),
        *(
            Field(
                "services",
                f"{port.port} → {port.destination_port} ({', '.join(port.handlers)})",
                f"port of Service {names}",
            )
            for port in group.services
        ),
    ]
    domains = ", ".join(domain.name for domain in group.domains)
    why = "annotation domain of the Service" if domains else "none asked for: the platform's own"
    return (*fields, Field("domains", domains or None, why))


def of_pod_volume(pod: Pod, volume: PodVolume) -> tuple[Field, ...]:
    request = volume.request
    source = next(one for one in pod.spec.volumes if one.name == volume.volume)
    fields = [Field("name", request.name, "Pod, volume and the Pod's uid")]
    if source.empty_dir is not None:
        limit = source.empty_dir.size_limit
        why = f"sizeLimit {limit}" if limit else f"no sizeLimit; {DEFAULT_EMPTY_DIR_MIB} by default"
        fields.append(Field("size_mb", request.size_mb, why))
    if request.host_path:
        fields.append(Field("host_path", request.host_path, "hostPath"))
    why = "several containers mount it side by side" if request.filesystem else "one at a time"
    fields.append(Field("access_mode", request.access_mode, why))
    return tuple(fields)


def of_claim(claim: PersistentVolumeClaim, request: VolumeRequest) -> tuple[Field, ...]:
    storage = claim.spec.resources.requests.get("storage", "")
    return (
        Field("name", request.name, "the claim's name"),
        Field("size_mb", request.size_mb, f"request storage {storage}, in whole MiB"),
        Field("access_mode", request.access_mode, ", ".join(claim.spec.access_modes)),
    )


def _instance_fields(
    pod: Pod, container: Container, request: InstanceRequest, options: PodOptions
) -> Iterator[Field]:
    metadata = pod.metadata
    plain = request.name == f"{metadata.name}-{container.name}"
    why = "Pod and container" if plain else "Pod and container, and a hash to tell namesakes apart"
    yield Field("name", request.name, why)
    if request.template is not None:
        yield Field(
            "template",
            unstructure(request)["template"],
            f"annotation {TEMPLATE}: image, size, arguments and environment are the template's",
        )
    else:
        yield from _made_from_image(pod, container, request, options)
    yield _autostart(pod, container, request)
    yield _service_group(request)
    yield _scale_to_zero(pod, request)
    for rom in request.roms or ():
        files = f"{len(rom.files)} files" if rom.files is not None else "an image"
        yield Field("roms", f"{rom.at} ({files})", _mounted_at(pod, container, rom.at))
    for plugin in request.plugins or ():
        yield Field("plugins", f"{plugin.name} ({plugin.image})", "annotations of the Pod")


def _made_from_image(
    pod: Pod, container: Container, request: InstanceRequest, options: PodOptions
) -> Iterator[Field]:
    match request.image:
        case ImageRequest() as image:
            yield Field("image.url", image.url, "image")
            if image.pull_policy:
                yield Field("image.pull_policy", image.pull_policy, "imagePullPolicy")
            if image.credentials:
                yield Field("image.credentials", "(hidden)", "a pull secret for that registry")
        case image:
            yield Field("image", image, "image")
    yield Field("args", list(request.args) if request.args else None, _args_reason(container))
    yield from _environment(container, request)
    defaults = options.defaults
    yield Field(
        "memory_mb", request.memory_mb, _size_reason(container, "memory", "MiB", defaults.memory_mb)
    )
    yield Field("vcpus", request.vcpus, _size_reason(container, "cpu", "CPUs", defaults.vcpus))
    yield Field(
        "restart_policy",
        request.restart_policy,
        f"the daemon itself restarts it, by Kubernetes' rules for {pod.spec.restart_policy}",
    )
    if request.hostname:
        why = "the Pod's hostname" if pod.spec.hostname else "the Pod's name"
        several = len(pod.spec.containers) > 1
        yield Field("hostname", request.hostname, "one for each container" if several else why)
    if request.nameserver:
        yield Field("nameserver", request.nameserver, "the first IPv4 one of dnsConfig.nameservers")
    for volume in request.volumes or ():
        what = f"{volume.name or volume.uuid} at {volume.at}"
        if volume.readonly:
            what += ", read-only"
        yield Field("volumes", what, _mounted_at(pod, container, volume.at))


def _args_reason(container: Container) -> str:
    match bool(container.command), bool(container.args):
        case True, True:
            return "command, then args"
        case True, False:
            return "command"
        case False, True:
            return "args, after the image's own entrypoint where its registry tells it"
    return "neither command nor args: what the image says"


def _environment(container: Container, request: InstanceRequest) -> Iterator[Field]:
    named = {variable.name: variable for variable in container.env}
    others = {}
    for name, value in (request.env or {}).items():
        if name in named:
            yield Field(f"env.{name}", value, _variable_reason(named[name]))
        elif source := _env_from(container, name):
            yield Field(f"env.{name}", value, source)
        else:
            others[name] = value
    if others:
        yield Field(
            "env",
            f"{len(others)} variables",
            "addresses of Services; fewer with enableServiceLinks: false",
        )


def _variable_reason(variable: EnvVar) -> str:
    source = variable.value_from
    if variable.value or source is None:
        return "value"
    if source.config_map_key_ref:
        return f"ConfigMap {source.config_map_key_ref.name}, key {source.config_map_key_ref.key}"
    if source.secret_key_ref:
        return f"Secret {source.secret_key_ref.name}, key {source.secret_key_ref.key}"
    if source.field_ref:
        return f"field {source.field_ref.field_path}"
    if source.resource_field_ref:
        return f"resource {source.resource_field_ref.resource}"
    return "valueFrom"


def _env_from(container: Container, name: str) -> str:
    """The sources that *name* may come of, where it is no address of a Service."""
    service = any(part in name for part in ("_SERVICE_", "_PORT")) and name.isupper()
    sources = [
        f"ConfigMap {source.config_map_ref.name}"
        if source.config_map_ref
        else f"Secret {source.secret_ref.name if source.secret_ref else ''}"
        for source in container.env_from
        if name.startswith(source.prefix)
    ]
    return "" if service or not sources else f"envFrom: {' or '.join(sources)}"


def _size_reason(container: Container, resource: str, unit: str, default: int) -> str:
    for side, amounts in (
        ("limits", container.resources.limits),
        ("requests", container.resources.requests),
    ):
        if resource in amounts and _is_positive(amounts[resource]):
            return f"{side}.{resource} {amounts[resource]}, in whole {unit}"
    return f"no limit or request; {default} by default"


def _is_positive(amount: str) -> bool:
    try:
        return quantity(amount) > 0
    except QuantityError:
        return True


def _autostart(pod: Pod, container: Container, request: InstanceRequest) -> Field:
    if container in pod.spec.init_containers:
        why = "an init container is started when its turn comes"
    elif AUTOSTART in pod.metadata.annotations:
        why = f"annotation {AUTOSTART}"
    elif request.autostart:
        why = "the default"
    else:
        why = "started once its own address is in its environment"
    return Field("autostart", request.autostart, why)


def _service_group(request: InstanceRequest) -> Field:
    group = request.service_group
    if group is None:
        return Field("service_group", None, "no Service leads to it, and it has not just one port")
    if group.name:
        return Field("service_group", group.name, "a Service that selects the Pod")
    ports = ", ".join(f"{one.port} → {one.destination_port}" for one in group.services or ())
    return Field("service_group", ports, "no Service selects the Pod, and it has just one port")


def _scale_to_zero(pod: Pod, request: InstanceRequest) -> Field:
    wish = request.scale_to_zero
    keys = (SCALE_TO_ZERO_POLICY, SCALE_TO_ZERO_STATEFUL, SCALE_TO_ZERO_COOLDOWN)
    asked = [key for key in keys if any(one.startswith(key) for one in pod.metadata.annotations)]
    if wish is None:
        published = request.service_group is not None or request.plugins
        return Field(
            "scale_to_zero",
            None,
            f"annotation {SCALE_TO_ZERO_POLICY}" if published else "nothing could wake it",
        )
    text = f"{wish.policy}, after {wish.cooldown_time_ms} ms"
    if wish.stateful:
        text += ", stateful"
    return Field("scale_to_zero", text, f"annotation {asked[0]}" if asked else "the default")


def _mounted_at(pod: Pod, container: Container, path: str) -> str:
    """Which of the Pod's volumes *container* mounts there."""
    for mount in container.volume_mounts:
        if "/" + mount.mount_path.strip("/") == path:
            source = next((one.source for one in pod.spec.volumes if one.name == mount.name), "")
            return f"volumeMount {mount.name} ({source})"
    return "volumeMounts"
