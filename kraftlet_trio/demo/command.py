"""``kraftlet-trio demo``: the daemon between two simulators, with the guide's two applications."""

from __future__ import annotations

import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import click
import trio
import yaml
from rich.console import Console
from rich.live import Live

from kraftlet_trio.cloud.access import CloudAccess
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.objects import Instance, ServiceGroup, Volume
from kraftlet_trio.daemon import run_daemon
from kraftlet_trio.demo.picture import picture
from kraftlet_trio.http.server import serve
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import load_kubeconfig
from kraftlet_trio.kubernetes.objects import PersistentVolumeClaim
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.kubernetes.resources import PERSISTENT_VOLUME_CLAIMS, PODS
from kraftlet_trio.logs import configure_logs
from kraftlet_trio.settings import parse_settings
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator
from kraftlet_trio.simulators.kubernetes.command import serve_cluster
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator

_TOKEN = "demo"
_LOOK_EVERY_SECONDS = 0.2
_READY_WITHIN_SECONDS = 45.0
_GONE_WITHIN_SECONDS = 30.0
_APPLICATIONS = ("simple-app.yaml", "stateful-app.yaml")
_PODS = 4


class DemoFailed(Exception):
    """What should have happened did not, within its time."""


@click.command()
@click.option("--once", is_flag=True, help="Tear down once all is Ready, and exit.")
def demo(*, once: bool) -> None:
    """Run the daemon between two simulators, with the guide's two applications.

    Stays up until interrupted, for a look around with kubectl.
    """
    configure_logs("warning", json=False)
    console = Console()
    try:
        trio.run(partial(_demo_until_interrupted, console, once=once))
    except ExceptionGroup as group:
        failures = group.subgroup(DemoFailed)
        if failures is None:
            raise
        console.print(f"[red]demo failed:[/] {failures.exceptions[0]}")
        sys.exit(1)


async def _demo_until_interrupted(console: Console, *, once: bool) -> None:
    async def end_when_interrupted(scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_when_interrupted, nursery.cancel_scope)
        await _demo(console, once=once)
        nursery.cancel_scope.cancel()


async def _demo(console: Console, *, once: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="kraftlet-trio-demo-") as folder:
        kubeconfig = Path(folder, "kubeconfig")
        async with _world(kubeconfig) as world:
            console.print("Applying [bold]simple-app.yaml[/] and [bold]stateful-app.yaml[/] …")
            for document in _documents():
                world.cluster.create(document)
            await _show_until(console, world, Sight.is_ready, _READY_WITHIN_SECONDS)
            console.print(f"\nAll is Ready. For kubectl:\n\n  export KUBECONFIG={kubeconfig}\n")
            if not once:
                console.print("Press Ctrl-C to end.")
                await trio.sleep_forever()
            console.print("Deleting both applications …")
            for document in _documents():
                world.cluster.delete(document)
            await _show_until(console, world, Sight.is_gone, _GONE_WITHIN_SECONDS)
            console.print("\nNothing is left in the cloud.")


def _documents() -> list[dict[str, Any]]:
    """The applications' objects; in a checkout the examples are not copied into the package."""
    packaged = Path(__file__).parent / "examples"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / "examples"
    return [
        document
        for name in _APPLICATIONS
        for document in yaml.safe_load_all((folder / name).read_text("utf-8"))
        if document
    ]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@attrs.frozen(kw_only=True)
class _World:
    cluster: KubernetesSimulator
    kubernetes: KubernetesClient
    cloud: CloudClient


@asynccontextmanager
async def _world(kubeconfig: Path) -> AsyncIterator[_World]:
    """Both simulators and the daemon, all on the loopback."""
    cloud_simulator = CloudSimulator(token=_TOKEN)
    cluster = KubernetesSimulator()
    async with trio.open_nursery() as nursery:
        await nursery.start(cloud_simulator.run)
        port = await nursery.start(partial(serve, cloud_simulator.handle, host="127.0.0.1", port=0))
        await nursery.start(cluster.run)
        await nursery.start(serve_cluster, cluster, "127.0.0.1", 0, kubeconfig)
        settings = parse_settings(
            {
                "ukc_default_metro": f"http://127.0.0.1:{port}",
                "ukc_token": _TOKEN,
                "node_internal_ip": "127.0.0.1",
                # Not 0: the node says where it listens before it does.
                "addr": f"127.0.0.1:{_free_port()}",
                "health_addr": "127.0.0.1:0",
                "pod_status_update_interval": "1s",
            }
        )
        access = CloudAccess(base_url=settings.cloud.url, token=lambda: _TOKEN)
        async with (
            KubernetesClient(load_kubeconfig(kubeconfig)) as kubernetes,
            CloudClient(access) as cloud,
            trio.open_nursery() as daemon,
        ):
            await daemon.start(
                partial(run_daemon, kubernetes, cloud, settings, dial=cloud_simulator.dial)
            )
            yield _World(cluster=cluster, kubernetes=kubernetes, cloud=cloud)
            daemon.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


@attrs.frozen(kw_only=True)
class Sight:
    """Both sides at one moment."""

    pods: tuple[Pod, ...]
    claims: tuple[PersistentVolumeClaim, ...]
    instances: Sequence[Instance]
    groups: Sequence[ServiceGroup]
    volumes: Sequence[Volume]

    def is_ready(self) -> bool:
        return (
            len(self.pods) == _PODS
            and all(
                condition.status == "True"
                for pod in self.pods
                for condition in pod.status.conditions
                if condition.type == "Ready"
            )
            and all(pod.status.phase == "Running" for pod in self.pods)
        )

    def is_gone(self) -> bool:
        return not (self.pods or self.claims or self.instances or self.groups or self.volumes)


async def _look(world: _World) -> Sight:
    return Sight(
        pods=(await world.kubernetes.list(PODS)).items,
        claims=(await world.kubernetes.list(PERSISTENT_VOLUME_CLAIMS)).items,
        instances=await world.cloud.list_instances(tags=()),
        groups=await world.cloud.list_service_groups(),
        volumes=await world.cloud.list_volumes(tags=()),
    )


async def _show_until(
    console: Console, world: _World, done: Callable[[Sight], bool], seconds: float
) -> None:
    """Raises ``DemoFailed`` when *done* does not come true in time."""
    with Live(console=console, auto_refresh=False) as live, trio.move_on_after(seconds):
        while True:
            sight = await _look(world)
            live.update(
                picture(sight.pods, sight.claims, sight.instances, sight.groups, sight.volumes),
                refresh=console.is_terminal,
            )
            if done(sight):
                return
            await trio.sleep(_LOOK_EVERY_SECONDS)
    raise DemoFailed(f"not all was as it should be within {seconds:.0f} s")
