"""What a Pod asks for that an instance cannot give it.

An instance is a machine of its own: nobody else's processes, host or devices are in its reach. So
only wishes that stay unfulfilled count. What holds anyway (root, a user namespace apart from the
host's, the runtime's own seccomp profile) does not, and neither does any default of the API server.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from typing import Any

from kraftlet_trio.kubernetes.pod import Container, Pod, PodDNSConfig, PodSpec, ResourceRequirements
from kraftlet_trio.mapping.problems import ConfigurationProblem, ConfigurationWarning
from kraftlet_trio.mapping.quantities import QuantityError, quantity

REASON = "UnsupportedFields"

_MOST_CHARACTERS = 700
"""In the fields of one message: an Event's has room for 1024."""
_LONGEST_PHRASE = 120
_SHARED_RESOURCES = ("cpu", "memory")
_DEFAULT_MESSAGE_PATH = "/dev/termination-log"

_Field = tuple[str, Any]
"""Path below ``spec``, and the value."""


def unsupported(pod: Pod) -> tuple[str, ...]:
    """Each field without effect, as ``path: value`` below ``spec``, containers by name."""
    spec = pod.spec
    fields = [*_of_pod(spec), *_of_network(spec)]
    for kind, containers in (
        ("initContainers", spec.init_containers),
        ("containers", spec.containers),
    ):
        for container in containers:
            at = f"{kind}[{container.name}]"
            fields += [(f"{at}.{path}", value) for path, value in _of_container(container, spec)]
    return tuple(_phrase(path, value) for path, value in fields)


def unsupported_warning(pod: Pod) -> ConfigurationWarning | None:
    """One warning that lists all of them."""
    if text := _listed(unsupported(pod)):
        return ConfigurationWarning(
            REASON, f"these parts of the Pod's spec have no effect on Unikraft Cloud: {text}"
        )
    return None


def unsupported_problem(pod: Pod) -> ConfigurationProblem | None:
    """The same as a problem, for a Pod that is not to run unless all of it has an effect."""
    if text := _listed(unsupported(pod)):
        return ConfigurationProblem(
            REASON,
            "the Pod wants all of its spec honoured, but these parts cannot be on Unikraft Cloud: "
            f"{text}; remove them, or the annotation that asks for it",
        )
    return None


def nameserver(pod: Pod) -> str | None:
    """The name server that the Pod chooses for its instances, which take one, by IPv4 address."""
    for address in pod.spec.dns_config.nameservers if pod.spec.dns_config else ():
        try:
            return str(ipaddress.IPv4Address(address))
        except ValueError:
            continue
    return None


def _listed(fields: tuple[str, ...]) -> str:
    """As many *fields* as fit, and how many more there are."""
    text = ""
    for position, field in enumerate(fields):
        longer = f"{text}, {field}" if text else field
        if len(longer) > _MOST_CHARACTERS:
            return f"{text}, and {len(fields) - position} more"
        text = longer
    return text


def _phrase(path: str, value: Any) -> str:
    text = f"{path}: {value if isinstance(value, str) else json.dumps(value, default=str)}"
    cut = text if len(text) <= _LONGEST_PHRASE else text[: _LONGEST_PHRASE - 1] + "…"
    return "".join(char if char.isprintable() else "?" for char in cut)


def _of_pod(spec: PodSpec) -> Iterator[_Field]:
    for name, wanted in (
        ("hostNetwork", spec.host_network),
        ("hostPID", spec.host_pid),
        ("hostIPC", spec.host_ipc),
        ("shareProcessNamespace", spec.share_process_namespace),
        ("runtimeClassName", spec.runtime_class_name),
    ):
        if wanted:
            yield name, wanted
    for path, value in _of_security_context(spec.security_context):
        yield f"securityContext.{path}", value
    for claim in spec.resource_claims:
        yield "resourceClaims", claim
    if spec.resources is not None:
        # The sum of all containers, shared among them: each instance has its own.
        for side in ("limits", "requests"):
            for resource, amount in getattr(spec.resources, side).items():
                yield f"resources.{side}.{resource}", amount


def _of_network(spec: PodSpec) -> Iterator[_Field]:
    if spec.set_hostname_as_fqdn:
        yield "setHostnameAsFQDN", True
    for alias in spec.host_aliases:
        yield "hostAliases", f"{alias.ip} {' '.join(alias.hostnames)}"
    config = spec.dns_config or PodDNSConfig()
    chosen = nameserver(Pod(spec=spec))
    # The cluster's own DNS is every Pod's default; only one of the host network has to ask for it.
    if spec.dns_policy == "ClusterFirstWithHostNet" or (spec.dns_policy == "None" and not chosen):
        yield "dnsPolicy", spec.dns_policy
    for address in config.nameservers:
        if address != chosen:
            yield "dnsConfig.nameservers", address
    if config.searches:
        yield "dnsConfig.searches", " ".join(config.searches)
    for option in config.options:
        yield "dnsConfig.options", _dns_option(option)


def _dns_option(option: Any) -> Any:
    match option:
        case {"name": name, "value": value}:
            return f"{name}:{value}"
        case {"name": name}:
            return name
    return option


def _of_container(container: Container, spec: PodSpec) -> Iterator[_Field]:
    if container.working_dir:
        yield "workingDir", container.working_dir
    for name, wanted in (("stdin", container.stdin), ("tty", container.tty)):
        if wanted:
            yield name, True
    if container.termination_message_path not in ("", _DEFAULT_MESSAGE_PATH):
        yield "terminationMessagePath", container.termination_message_path
    if container.lifecycle and container.lifecycle.stop_signal not in ("", "SIGTERM"):
        yield "lifecycle.stopSignal", container.lifecycle.stop_signal
    for path, value in _of_security_context(container.security_context):
        yield f"securityContext.{path}", value
    yield from _of_ports(container, spec)
    yield from _of_resources(container.resources)
    for device in container.volume_devices:
        yield "volumeDevices", device
    for mount in container.volume_mounts:
        at = f"volumeMounts[{mount.name}]"
        if mount.mount_propagation not in ("", "None"):
            yield f"{at}.mountPropagation", mount.mount_propagation
        if mount.recursive_read_only == "Enabled":
            yield f"{at}.recursiveReadOnly", mount.recursive_read_only


def _of_ports(container: Container, spec: PodSpec) -> Iterator[_Field]:
    for port in container.ports:
        at = f"ports[{port.container_port}]"
        if port.protocol != "TCP":
            yield f"{at}.protocol", port.protocol
        # On the host network the API server fills it in.
        if port.host_port and not (spec.host_network and port.host_port == port.container_port):
            yield f"{at}.hostPort", port.host_port


def _of_resources(resources: ResourceRequirements) -> Iterator[_Field]:
    for claim in resources.claims:
        yield "resources.claims", claim
    # Where only a limit is written, the API server makes it the request too.
    told = set()
    for side, amounts in (("limits", resources.limits), ("requests", resources.requests)):
        for name, amount in amounts.items():
            if name not in _SHARED_RESOURCES and name not in told and _is_something(amount):
                told.add(name)
                yield f"resources.{side}.{name}", amount


def _is_something(amount: str) -> bool:
    try:
        return quantity(amount) != 0
    except QuantityError:
        return True


def _of_security_context(context: Mapping[str, Any]) -> Iterator[_Field]:
    """Of a Pod or of a container: each has some of these."""
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        if context.get(name):  # 0 is root, whom every instance runs as
            yield name, context[name]
    for name in ("runAsNonRoot", "privileged", "readOnlyRootFilesystem"):
        if context.get(name):
            yield name, True
    if context.get("allowPrivilegeEscalation") is False:
        yield "allowPrivilegeEscalation", False
    for name in ("supplementalGroups", "seLinuxOptions", "windowsOptions"):
        if context.get(name):
            yield name, context[name]
    if context.get("supplementalGroupsPolicy") == "Strict":
        yield "supplementalGroupsPolicy", "Strict"
    for name in ("seccompProfile", "appArmorProfile"):
        # Any other is the runtime's own, or none at all: both hold.
        profile = context.get(name) or {}
        if profile.get("type") == "Localhost":
            yield name, profile.get("localhostProfile", "Localhost")
    for direction, capabilities in (context.get("capabilities") or {}).items():
        if capabilities:
            yield f"capabilities.{direction}", " ".join(map(str, capabilities))
    if context.get("procMount", "Default") != "Default":
        yield "procMount", context["procMount"]
    for sysctl in context.get("sysctls") or ():
        match sysctl:
            case {"name": name, "value": value}:
                yield f"sysctls.{name}", value
