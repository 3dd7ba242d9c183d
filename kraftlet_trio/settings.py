"""What a user may decide about the daemon, parsed once from flags and environment.

Each subsystem is given its own part only. All faults are reported together.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import attrs

from kraftlet_trio import __version__
from kraftlet_trio.cloud.access import endpoint
from kraftlet_trio.kubelet_api.certificate import Pair, check_authorities, server_context
from kraftlet_trio.kubelet_api.settings import KubeletAPISettings
from kraftlet_trio.kubelet_api.signing_request import LONGEST_NODE_NAME
from kraftlet_trio.kubernetes.objects import Taint
from kraftlet_trio.kubernetes.pod import ResourceRequirements
from kraftlet_trio.mapping.annotation_values import LARGEST_MILLISECONDS, POLICIES
from kraftlet_trio.mapping.annotations import PodDefaults
from kraftlet_trio.mapping.names import Naming
from kraftlet_trio.mapping.quantities import memory_mib, vcpus
from kraftlet_trio.node.settings import CapacityCaps, NodeSettings
from kraftlet_trio.pods.context import FINALIZER, DaemonSetPods, PodSettings
from kraftlet_trio.pods.sweeper import SweeperSettings
from kraftlet_trio.registry.reference import InvalidReference, parse_reference
from kraftlet_trio.registry.settings import RegistrySettings
from kraftlet_trio.volumes.settings import ClaimSettings

T = TypeVar("T")

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_NONE: dict[str, str] = {}
_TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


class SettingsError(Exception):
    """Settings that cannot be used; one line for each fault."""


@attrs.frozen(kw_only=True)
class CloudSettings:
    """Where the platform is and what opens it."""

    url: str
    token: str = attrs.field(default="", repr=False)
    token_file: Path | None = None
    """Read again when it changes, so that a token is rotated without a restart."""
    ca_file: Path | None = None
    insecure: bool = False
    """The platform's certificate is not verified."""


@attrs.frozen(kw_only=True)
class Settings:
    cloud: CloudSettings
    node: NodeSettings
    pods: PodSettings
    sweeper: SweeperSettings | None
    """None: orphans stay."""
    claims: ClaimSettings | None
    """None: claims of class ``ukc-volume`` are left to another provisioner."""
    kubelet_api: KubeletAPISettings | None
    """None where the daemon runs without sockets."""
    registries: RegistrySettings | None
    """None: no registry is contacted."""
    status_interval_seconds: float = 1.0
    """How often all instances are listed, less so where the platform tells of events."""


def parse_settings(options: Mapping[str, str]) -> Settings:
    """Settings from texts by option name, as the command line and the environment give them.

    Raises:
        SettingsError: naming each faulty option, its value, and what to write instead.
    """
    faults: list[str] = []

    def value(name: str, parse: Callable[[str], T], *, default: T) -> T:
        text = options.get(name, "")
        if text == "":
            return default
        try:
            return parse(text)
        except ValueError as error:
            variable = f"KRAFTLET_{name.upper()}"
            faults.append(f"--{name.replace('_', '-')} ({variable}): {error}")
            return default

    node_name = value("node_name", _node_name, default="kraftlet")
    address = value("node_internal_ip", _ip_address, default="")
    host, port = value("addr", _listen_address, default=("", 10250))
    health_host, health_port = value("health_addr", _listen_address, default=("", 10248))
    token, token_file = options.get("ukc_token", ""), options.get("ukc_token_file", "")
    if not options.get("ukc_default_metro"):
        faults.append(
            "--ukc-default-metro (KRAFTLET_UKC_DEFAULT_METRO): none given; "
            "write a metro (fra) or the URL of a platform"
        )
    if not token and not token_file:
        faults.append(
            "--ukc-token (KRAFTLET_UKC_TOKEN): none given; "
            "write the platform's token, or a file that holds it with --ukc-token-file"
        )
    cloud = CloudSettings(
        url=value("ukc_default_metro", endpoint, default=""),
        token=token,
        token_file=Path(token_file) if token_file else None,
        ca_file=value("ukc_ca_file", _existing_file, default=None),
        insecure=value("allow_insecure", boolean, default=False),
    )
    taint = None
    if value("enable_node_taint", boolean, default=True):
        taint = Taint(
            key=options.get("node_taint_key") or "virtual-kubelet.io/provider",
            value=options.get("node_taint_value") or "ukc",
            effect=value("node_taint_effect", _taint_effect, default="NoSchedule"),
        )
    node = NodeSettings(
        name=node_name,
        internal_ip=address,
        kubelet_port=port,
        architecture=options.get("node_architecture") or "amd64",
        labels=value("node_labels", _pairs, default=_NONE),
        annotations=value("node_annotations", _pairs, default=_NONE),
        taint=taint,
        caps=CapacityCaps(
            cpu=value("node_cpu", _vcpus, default=None),
            memory_mib=value("node_memory", _memory_mib, default=None),
            pods=value("node_pods", _count, default=None),
        ),
        provider_id=options.get("node_provider_id") or f"unikraft://{node_name}",
        platform_health_condition=value("enable_platform_health_condition", boolean, default=True),
        version=__version__,
    )
    naming = value("naming", _naming, default=Naming())
    usual = PodDefaults()
    defaults = attrs.evolve(
        usual,
        memory_mb=value("default_memory", _memory_mib, default=usual.memory_mb),
        vcpus=value("default_vcpus", _vcpus, default=usual.vcpus),
        scale_to_zero=attrs.evolve(
            usual.scale_to_zero,
            policy=value("scale_to_zero_policy", _policy, default=usual.scale_to_zero.policy),
            stateful=value("scale_to_zero_stateful", boolean, default=False),
            cooldown_time_ms=value(
                "scale_to_zero_cooldown",
                _milliseconds,
                default=usual.scale_to_zero.cooldown_time_ms,
            ),
        ),
        exec_plugin_image=options.get("exec_plugin_image") or usual.exec_plugin_image,
        enable_exec=value("enable_exec", boolean, default=False),
        fqdn_annotations=value("enable_instance_fqdn_annotations", boolean, default=False),
    )
    pods = PodSettings(
        node_name=node_name,
        host_ip=address,
        naming=naming,
        finalizer=options.get("pod_finalizer", FINALIZER),
        host_path_volumes=value("enable_host_path_volumes", boolean, default=False),
        reclaims_failed_pods=value("enable_failed_pod_reclaim", boolean, default=True),
        probe_network=value("probe_network", _probe_network, default=True),
        defaults=defaults,
        daemon_set_pods=value("daemon_set_pods", _daemon_set_pods, default="ignore"),
    )
    grace = value("orphan_grace", seconds, default=SweeperSettings().grace_seconds)
    sweeper = None
    match value("orphan_sweep", _orphan_sweep, default="on"):
        case "on":
            sweeper = SweeperSettings(grace_seconds=grace)
        case "dry-run":
            sweeper = SweeperSettings(grace_seconds=grace, dry_run=True)
    claims = None
    if value("enable_pvc_watcher", boolean, default=True):
        claims = ClaimSettings(
            namespace=options.get("namespace") or "default",
            naming=naming,
        )
    registries = RegistrySettings(
        ca_file=cloud.ca_file,
        plain_hosts=value("insecure_registries", _registries, default=frozenset()),
        architecture=node.architecture,
    )
    cert_file = value("tls_cert_file", _existing_file, default=None)
    key_file = value("tls_key_file", _existing_file, default=None)
    if (cert_file is None) != (key_file is None):
        faults.append("--tls-cert-file and --tls-key-file: one needs the other; give both")
    if cert_file is not None and key_file is not None:
        try:
            server_context(Pair.from_files(cert_file, key_file), "")
        except OSError as error:
            faults.append(
                f"--tls-cert-file and --tls-key-file: {error}; "
                "give a certificate and its key without a passphrase, both in PEM"
            )
    rotate_server_certificates = value("rotate_server_certificates", boolean, default=False)
    if rotate_server_certificates and cert_file is not None:
        faults.append(
            "--rotate-server-certificates and --tls-cert-file: the certificate is one or the "
            "other's; give one of them"
        )
    if rotate_server_certificates and len(node_name) > LONGEST_NODE_NAME:
        faults.append(
            f"--rotate-server-certificates: no certificate can name {node_name!r}; give the node "
            f"a name of at most {LONGEST_NODE_NAME} characters"
        )
    settings = Settings(
        cloud=cloud,
        node=node,
        pods=pods,
        sweeper=sweeper,
        claims=claims,
        kubelet_api=KubeletAPISettings(
            host=host,
            port=port,
            address=address,
            cert_file=cert_file,
            key_file=key_file,
            rotate_server_certificates=rotate_server_certificates,
            client_ca_file=value("client_ca_file", _authorities_file, default=None),
            health_host=health_host,
            health_port=health_port,
        ),
        registries=registries if value("read_registries", boolean, default=True) else None,
        status_interval_seconds=value("pod_status_update_interval", seconds, default=1.0),
    )
    if faults:
        raise SettingsError("\n".join(faults))
    return settings


def boolean(text: str) -> bool:
    match text.strip().lower():
        case "true" | "t" | "1" | "yes" | "on":
            return True
        case "false" | "f" | "0" | "no" | "off":
            return False
    raise ValueError(f"{text!r} is neither true nor false")


def seconds(text: str) -> float:
    """A duration such as ``15s``, ``500ms`` or ``1m30s``, in seconds."""
    parts = list(_DURATION.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise ValueError(f"{text!r} is no duration; write one such as 5s, 500ms or 1m30s")
    total = sum(float(part["number"]) * _SECONDS[part["unit"]] for part in parts)
    if total <= 0:
        raise ValueError(f"{text!r} is no time at all; write one such as 5s")
    return total


def _milliseconds(text: str) -> int:
    milliseconds = round(seconds(text) * 1000)
    if milliseconds > LARGEST_MILLISECONDS:
        raise ValueError(
            f"{text!r} is too long; write at most {LARGEST_MILLISECONDS // 3_600_000}h"
        )
    return milliseconds


def _memory_mib(text: str) -> int:
    return _at_least_one(memory_mib, "memory", text, "512Mi")


def _vcpus(text: str) -> int:
    return _at_least_one(vcpus, "cpu", text, "2")


def _at_least_one(
    rounded: Callable[[ResourceRequirements, int], int], resource: str, text: str, example: str
) -> int:
    """*text* in whole units as *rounded* makes them of a container's limit."""
    units = rounded(ResourceRequirements(limits={resource: text}), 0)
    if units == 0:
        raise ValueError(f"{text!r} is nothing; write a quantity such as {example}")
    return units


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ValueError(f"{text!r} is no number of Pods; write one such as 110")
    return int(text)


def _policy(text: str) -> str:
    if text not in POLICIES:
        raise ValueError(f"{text!r} is no policy; write one of {', '.join(POLICIES)}")
    return text


def _node_name(text: str) -> str:
    if len(text) > 253 or not _NODE_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no node name; write a lower-case DNS name")
    return text


def _ip_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is no IP address") from None


def _listen_address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError(f"{text!r} is no address to listen at; write [host]:port, as :10250")
    return host.strip("[]"), int(port)


def _registries(text: str) -> frozenset[str]:
    hosts = frozenset(filter(None, (part.strip() for part in text.split(";"))))
    for host in hosts:
        try:
            well_formed = parse_reference(f"{host}/image").domain_written and "/" not in host
        except InvalidReference:
            well_formed = False
        if not well_formed:
            raise ValueError(f"{host!r} is no registry; write host:port;host:port")
    return hosts


def _taint_effect(text: str) -> str:
    if text not in _TAINT_EFFECTS:
        raise ValueError(f"{text!r} is no taint effect; write one of {', '.join(_TAINT_EFFECTS)}")
    return text


def _pairs(text: str) -> dict[str, str]:
    pairs = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"{part!r} is no key=value; write them as key=value;key=value")
        pairs[key.strip()] = value.strip()
    return pairs


def _probe_network(text: str) -> bool:
    match text:
        case "direct":
            return True
        case "none":
            return False
    raise ValueError(f"{text!r} is no way to instances; write direct or none")


def _naming(text: str) -> Naming:
    match text:
        case "readable":
            return Naming()
        case "hashed":
            return Naming(hashed=True)
    raise ValueError(f"{text!r} is no way of naming; write readable or hashed")


def _daemon_set_pods(text: str) -> DaemonSetPods:
    match text:
        case "ignore" | "refuse" | "run":
            return text
    raise ValueError(f"{text!r} is nothing to do with them; write ignore, refuse or run")


def _orphan_sweep(text: str) -> str:
    if text not in ("on", "dry-run", "off"):
        raise ValueError(f"{text!r} is no way of sweeping; write on, dry-run or off")
    return text


def _authorities_file(text: str) -> Path | None:
    path = _existing_file(text)
    try:
        check_authorities(Path(text).read_text("ascii"))
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"{text} holds no certificates in PEM") from None
    return path


def _existing_file(text: str) -> Path | None:
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"there is no file {text}")
    return path
