"""``kraftlet-trio simulate kubernetes``: the simulated API server on a port, for kubectl."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import sys
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import click
import structlog
import trio
import yaml

from kraftlet_trio.clock import utc_now
from kraftlet_trio.http.server import serve
from kraftlet_trio.logs import configure_logs
from kraftlet_trio.simulators.certificates import Authority
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator

log = structlog.get_logger()

_CONTEXT = "kubernetes-simulator"
_ANYBODY = "anybody"
"""Written where no token is needed: without any, kubectl would ask for a user name."""


@click.command()
@click.option(
    "--listen",
    default="127.0.0.1:6443",
    show_default=True,
    metavar="HOST:PORT",
    help="Port 0: any.",
)
@click.option(
    "--kubeconfig",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write, for kubectl and the daemon.",
)
def kubernetes(listen: str, kubeconfig: Path) -> None:
    """Serve a simulated Kubernetes API over HTTPS until interrupted.

    It keeps all objects in memory, and forgets them at its end.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise click.BadParameter("not of the form HOST:PORT", param_hint="--listen")
    if kubeconfig.exists() and _CONTEXT not in kubeconfig.read_text():
        raise click.BadParameter(
            f"{kubeconfig} exists and is not a simulator's; not overwritten",
            param_hint="--kubeconfig",
        )
    configure_logs("info", json=not sys.stderr.isatty())
    trio.run(_serve_until_signalled, host.strip("[]"), int(port), kubeconfig)


async def _serve_until_signalled(host: str, port: int, kubeconfig: Path) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            cluster = KubernetesSimulator(token=secrets.token_urlsafe())
            await nursery.start(cluster.run)
            url = await nursery.start(serve_cluster, cluster, host, port, kubeconfig)
            log.info("kubernetes simulator ready", url=url, kubeconfig=str(kubeconfig))
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()


async def serve_cluster(
    cluster: KubernetesSimulator,
    host: str,
    port: int,
    kubeconfig: Path,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve *cluster* over TLS; ``started`` gives the URL, once *kubeconfig* is written too.

    Raises ``OSError`` where the port cannot be bound or the file not be written.
    """
    now = utc_now()
    authority = Authority.new(now, common_name="kubernetes-simulator-ca")
    reachable = "127.0.0.1" if _is_unspecified(host) else host
    names = sorted({reachable, "127.0.0.1", "::1", "localhost", "kubernetes.default.svc"})
    tls = authority.server_context(names, now)
    cluster.publish_root_certificate(authority.pem)
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(partial(serve, cluster.handle, host=host, port=port, tls=tls))
        url = f"https://{f'[{reachable}]' if ':' in reachable else reachable}:{bound}"
        _write_kubeconfig(kubeconfig, url, authority, cluster.token or _ANYBODY)
        task_status.started(url)


def _is_unspecified(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _write_kubeconfig(path: Path, url: str, authority: Authority, token: str) -> None:
    """In one step, so that whoever waits for the file never reads half of it."""
    certificate = base64.b64encode(authority.pem.encode()).decode()
    cluster = {"server": url, "certificate-authority-data": certificate}
    context = {"cluster": _CONTEXT, "user": _CONTEXT}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": _CONTEXT, "cluster": cluster}],
        "users": [{"name": _CONTEXT, "user": {"token": token}}],
        "contexts": [{"name": _CONTEXT, "context": context}],
        "current-context": _CONTEXT,
    }
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    draft.replace(path)
