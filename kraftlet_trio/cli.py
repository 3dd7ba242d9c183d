"""The command line: ``run``, ``demo`` and ``simulate``."""

from __future__ import annotations

import os
import signal
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import structlog
import trio

from kraftlet_trio import __version__
from kraftlet_trio.cloud.access import CloudAccess, TokenFile, trust
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.errors import CloudError
from kraftlet_trio.daemon import run_daemon
from kraftlet_trio.demo.command import demo
from kraftlet_trio.drain import Left, drain
from kraftlet_trio.explain.command import explain_command
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.cluster import SYSTEM_NAMESPACE
from kraftlet_trio.kubernetes.config import (
    ClusterAccess,
    ConfigError,
    in_cluster,
    load_kubeconfig,
)
from kraftlet_trio.kubernetes.errors import Forbidden, KubernetesError
from kraftlet_trio.logs import LEVELS, configure_logs
from kraftlet_trio.registry.client import RegistryClient
from kraftlet_trio.registry.settings import RegistrySettings
from kraftlet_trio.settings import CloudSettings, Settings, SettingsError, parse_settings, seconds
from kraftlet_trio.simulators.cloud.command import cloud as cloud_simulator
from kraftlet_trio.simulators.kubernetes.command import kubernetes as kubernetes_simulator
from kraftlet_trio.tree_command import tree_command

log = structlog.get_logger()

_OPTIONS = {
    "ukc_default_metro": "Metro (fra) or URL of the platform.",
    "ukc_token": "The platform's token.",
    "ukc_token_file": "File with the token; read again when it changes.",
    "ukc_ca_file": "CA certificates for the platform, PEM.",
    "allow_insecure": "Do not verify the platform's certificate (true or false).",
    "node_name": "Name of the node.  [kraftlet]",
    "node_internal_ip": "Address of the node, at which the API server reaches this daemon.",
    "node_architecture": "Label kubernetes.io/arch.  [amd64]",
    "node_cpu": "The most CPUs that the node offers.  [the account's quota]",
    "node_memory": "The most memory that the node offers, such as 16Gi.  [the account's quota]",
    "node_pods": "The most Pods that the node takes.  [the account's quota of instances]",
    "node_labels": "Further labels, as key=value;key=value.",
    "node_annotations": "Annotations of the node, as key=value;key=value.",
    "node_provider_id": "spec.providerID.  [unikraft://<node name>]",
    "enable_node_taint": "Whether the node is tainted.  [true]",
    "node_taint_key": "[virtual-kubelet.io/provider]",
    "node_taint_value": "[ukc]",
    "node_taint_effect": "[NoSchedule]",
    "enable_platform_health_condition": "Publish UnikraftPlatformHealthy.  [true]",
    "enable_host_path_volumes": "Let Pods mount the platform's directories.  [false]",
    "enable_pvc_watcher": "Provision claims of class ukc-volume.  [true]",
    "namespace": "Namespace of the lease by which daemons elect the provisioner.  [default]",
    "pod_finalizer": "Finalizer of Pods; empty for none.  [cloud.unikraft.v1/resources]",
    "enable_failed_pod_reclaim": "Delete controllers' Pods that failed on the quota.  [true]",
    "orphan_sweep": "Delete what is left of Pods that are gone: on, dry-run or off.  [on]",
    "orphan_grace": "How long a Pod must be gone before that.  [5m]",
    "daemon_set_pods": "Pods of DaemonSets: ignore, refuse or run.  [ignore]",
    "default_memory": "Of containers that ask for none, as a quantity.  [128Mi]",
    "default_vcpus": "Of containers that ask for no CPU.  [1]",
    "scale_to_zero_policy": "Of Pods that name none: on, off or idle.  [on]",
    "scale_to_zero_stateful": "Whether sleeping instances keep their memory.  [false]",
    "scale_to_zero_cooldown": "How long an instance is idle before it sleeps.  [1s]",
    "enable_exec": "Make commands possible in all instances.  [false]",
    "exec_plugin_image": "The plugin that executes commands.  [plugins/sandbox:latest]",
    "enable_instance_fqdn_annotations": "Note instances' names on their Pods.  [false]",
    "pod_status_update_interval": "How often all instances are listed.  [1s]",
    "naming": "Names of cloud resources: readable or hashed.  [readable]",
    "probe_network": "Whether probes reach instances: direct, or none.  [direct]",
    "read_registries": "Look images up in their registries.  [true]",
    "insecure_registries": "Registries without TLS, as host:port;host:port.",
    "addr": "Where the kubelet API listens.  [:10250]",
    "tls_cert_file": "Serving certificate of the kubelet API.  [self-signed]",
    "tls_key_file": "Its key.",
    "rotate_server_certificates": "Have the cluster sign that certificate.  [false]",
    "client_ca_file": "Who signs client certificates for it, PEM.  [what the cluster publishes]",
    "health_addr": "Where /livez, /readyz and /healthz are told to anybody.  [:10248]",
}
_OTHER_NAMES = {"client_ca_file": "APISERVER_CA_CERT_LOCATION"}
"""Variables that Unikraft's own virtual kubelet names without the prefix."""


@click.group()
@click.version_option(__version__, prog_name="kraftlet-trio")
def main() -> None:
    """A virtual Kubernetes node whose containers are Unikraft Cloud instances."""


@main.group()
def simulate() -> None:
    """Serve a simulated Unikraft Cloud or Kubernetes API on this machine."""


simulate.add_command(cloud_simulator)
simulate.add_command(kubernetes_simulator)
main.add_command(explain_command)
main.add_command(demo)
main.add_command(tree_command)


@main.command(context_settings={"show_default": True})
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    help="Kubeconfig file.  [$KUBECONFIG, else the Pod's ServiceAccount, else ~/.kube/config]",
)
@click.option("--log-level", type=click.Choice(LEVELS), default="info", envvar="KRAFTLET_LOG_LEVEL")
@click.option(
    "--log-type", type=click.Choice(["json", "console"]), default="json", envvar="KRAFTLET_LOG_TYPE"
)
def run(kubeconfig: Path | None, log_level: str, log_type: str, **options: str | None) -> None:
    """Register the node and run its Pods, until SIGINT or SIGTERM.

    Stopping leaves all instances running.
    """
    configure_logs(log_level, json=log_type == "json")
    for variable in _unknown_variables():
        log.warning("variable has no effect", variable=variable)
    try:
        settings = parse_settings(_texts(options))
        cluster = _cluster_access(kubeconfig)
        cloud = _cloud_access(settings.cloud)
        trio.run(_run_until_signalled, cluster, cloud, settings)
    except (SettingsError, ConfigError, _CannotStart) as error:
        click.echo(f"kraftlet-trio: {error}", err=True)
        sys.exit(1)


@main.command("drain")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    help="Kubeconfig file.  [$KUBECONFIG, else the Pod's ServiceAccount, else ~/.kube/config]",
)
@click.option("--timeout", default="5m", show_default=True, help="How long it may take.")
@click.option("--keep-node", is_flag=True, help="Leave the Node object, cordoned.")
def drain_command(
    kubeconfig: Path | None, timeout: str, *, keep_node: bool, **options: str | None
) -> None:
    """Take the node away, with its Pods and all that it has in the cloud.

    Volumes of claims stay, they belong to the claims. Exits with 1 where something is left after
    the timeout, and with 2 where the settings cannot be used.
    """
    configure_logs("error", json=False)
    try:
        settings = parse_settings(_texts(options))
        cluster = _cluster_access(kubeconfig)
        timeout_seconds = seconds(timeout)
    except (SettingsError, ConfigError, ValueError) as error:
        click.echo(f"kraftlet-trio: {error}", err=True)
        sys.exit(2)
    access = _cloud_access(settings.cloud)
    try:
        left = trio.run(_drain, cluster, access, settings, timeout_seconds, keep_node)
    except (KubernetesError, CloudError) as error:
        click.echo(f"kraftlet-trio: {error}", err=True)
        sys.exit(1)
    if left:
        click.echo(f"still there after {timeout}: {left}", err=True)
        sys.exit(1)


async def _drain(
    cluster: ClusterAccess,
    access: CloudAccess,
    settings: Settings,
    timeout_seconds: float,
    keep_node: bool,  # noqa: FBT001 (trio.run passes it by position)
) -> Left:
    async with KubernetesClient(cluster) as kubernetes, CloudClient(access) as cloud:
        return await drain(
            kubernetes,
            cloud,
            settings,
            timeout_seconds=timeout_seconds,
            keep_node=keep_node,
            say=click.echo,
        )


for _name, _help in reversed(_OPTIONS.items()):
    _option = click.option(
        f"--{_name.replace('_', '-')}", _name, envvar=f"KRAFTLET_{_name.upper()}", help=_help
    )
    run, drain_command = _option(run), _option(drain_command)


def _texts(options: Mapping[str, str | None]) -> dict[str, str]:
    """Those that were given; click takes a variable that is set to nothing for one that is not."""
    texts = {}
    for name, text in options.items():
        variables = (f"KRAFTLET_{name.upper()}", _OTHER_NAMES.get(name, ""))
        set_ = (os.environ[variable] for variable in variables if variable in os.environ)
        given = next(set_, None) if text is None else text
        if given is not None:
            texts[name] = given
    return texts


def _unknown_variables() -> list[str]:
    known = {f"KRAFTLET_{name.upper()}" for name in (*_OPTIONS, "log_level", "log_type")}
    return sorted(name for name in os.environ if name.startswith("KRAFTLET_") and name not in known)


class _CannotStart(Exception):
    """One of the two APIs does not let the daemon begin."""


def _cluster_access(kubeconfig: Path | None) -> ClusterAccess:
    if kubeconfig is None and not os.environ.get("KUBECONFIG"):
        try:
            return in_cluster()
        except ConfigError:
            pass  # not inside a cluster: the user's own kubeconfig then
    return load_kubeconfig(kubeconfig)


def _cloud_access(settings: CloudSettings) -> CloudAccess:
    context: ssl.SSLContext | None = None
    if settings.ca_file or settings.insecure:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    token = TokenFile(settings.token_file) if settings.token_file else lambda: settings.token
    return CloudAccess(base_url=settings.url, token=token, ssl_context=context)


def _registry_client(settings: RegistrySettings | None) -> RegistryClient | None:
    if settings is None:
        return None
    return RegistryClient(
        ssl_context=trust(ca_file=settings.ca_file),
        plain_hosts=settings.plain_hosts,
        architecture=settings.architecture,
    )


async def _run_until_signalled(
    cluster: ClusterAccess, access: CloudAccess, settings: Settings
) -> None:
    async def leave_when_signalled(scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                log.info("leaving, instances stay", signal=signal.Signals(number).name)
                scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave_when_signalled, nursery.cancel_scope)
            await _run(cluster, access, settings)
    except ExceptionGroup as group:
        refusals = group.subgroup(_CannotStart)
        if refusals is None:
            raise
        raise refusals.exceptions[0] from None


async def _run(cluster: ClusterAccess, access: CloudAccess, settings: Settings) -> None:
    async with KubernetesClient(cluster) as kubernetes, CloudClient(access) as cloud:
        try:
            await cloud.quotas()
        except CloudError as error:
            raise _CannotStart(
                f"Unikraft Cloud at {access.base_url}: {error}; check the metro "
                "(KRAFTLET_UKC_DEFAULT_METRO) and the token (KRAFTLET_UKC_TOKEN)"
            ) from error
        try:
            await kubernetes.server_version()
        except KubernetesError as error:
            raise _CannotStart(
                f"Kubernetes API at {cluster.server}: {error}; check KUBECONFIG"
            ) from error
        try:
            await run_daemon(
                kubernetes, cloud, settings, registries=_registry_client(settings.registries)
            )
        except Forbidden as error:
            raise _CannotStart(
                f"Kubernetes API at {cluster.server}: {error}; the daemon tells clusters apart by "
                "that namespace's uid: grant it the verb get on namespaces, with resourceNames "
                f"[{SYSTEM_NAMESPACE}]"
            ) from error
