"""``kraftlet-trio simulate cloud``: the simulated platform on a port, for the daemon and SDKs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import attrs
import click
import structlog
import trio

from kraftlet_trio.cloud.objects import QuotaUse
from kraftlet_trio.http.server import serve
from kraftlet_trio.logs import configure_logs
from kraftlet_trio.simulators.cloud.fault_rules import FaultRules, RulesError, parse_rules
from kraftlet_trio.simulators.cloud.images import CatalogueError, ImageCatalogue
from kraftlet_trio.simulators.cloud.isolation import find_isolation
from kraftlet_trio.simulators.cloud.runtime import Runtime
from kraftlet_trio.simulators.cloud.runtime_process import ProcessRuntime
from kraftlet_trio.simulators.cloud.runtime_virtual import VirtualRuntime
from kraftlet_trio.simulators.cloud.settings import EXAMPLE_HARD_QUOTAS, CloudSettings
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator
from kraftlet_trio.simulators.cloud.state_directory import StateDirectory
from kraftlet_trio.simulators.cloud.state_format import StateError

log = structlog.get_logger()


@click.command()
@click.option(
    "--listen",
    default="127.0.0.1:8090",
    show_default=True,
    metavar="HOST:PORT",
    help="Port 0: any.",
)
@click.option("--token", required=True, envvar="UKC_TOKEN", help="What callers must present.")
@click.option(
    "--runtime",
    type=click.Choice(["virtual", "process"]),
    default="virtual",
    show_default=True,
    help="Whether instances follow a script or are processes of this machine.",
)
@click.option(
    "--isolation/--no-isolation",
    "isolates",
    default=True,
    help="Whether processes get namespaces of their own, if that is possible.  [they do]",
)
@click.option(
    "--images",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Image catalogue, YAML.  [the one in the package]",
)
@click.option(
    "--quota",
    "quotas",
    multiple=True,
    metavar="NAME=NUMBER",
    help="Another hard quota, such as instances=1000. Repeatable.",
)
@click.option(
    "--faults",
    "faults_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rules of what goes wrong, YAML or JSON.  [nothing does]",
)
@click.option(
    "--state",
    "state_path",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep resources, logs and volumes there, and begin with them.  [forget all at the end]",
)
def cloud(
    *,
    listen: str,
    token: str,
    runtime: str,
    isolates: bool,
    images: Path | None,
    quotas: tuple[str, ...],
    faults_file: Path | None,
    state_path: Path | None,
) -> None:
    """Serve a simulated Unikraft Cloud over HTTP until interrupted."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise click.BadParameter("not of the form HOST:PORT", param_hint="--listen")
    configure_logs("info", json=not sys.stderr.isatty())
    with _state(state_path) as state:
        volumes = None if state is None else state.volumes
        simulator = CloudSimulator(
            token=token,
            quotas=_hard_quotas(quotas),
            images=_catalogue(images),
            runtime=_runtime(runtime, volumes, isolates=isolates),
            settings=CloudSettings(serve_groups=True),
            state=state,
        )
        rules = _fault_rules(faults_file)
        simulator.faults.replace(rules.faults, seed=rules.seed)
        trio.run(_serve_until_signalled, simulator, host.strip("[]"), int(port))


@contextmanager
def _state(path: Path | None) -> Iterator[StateDirectory | None]:
    if path is None:
        yield None
        return
    with ExitStack() as stack:
        try:
            state = stack.enter_context(StateDirectory.opened(path))
        except StateError as error:
            raise click.BadParameter(str(error), param_hint="--state") from error
        yield state


def _runtime(name: str, volumes: Path | None, *, isolates: bool) -> Runtime:
    if name == "virtual":
        return VirtualRuntime()
    if not isolates:
        log.info("guests are not isolated", reason="by request")
    return ProcessRuntime(find_isolation() if isolates else None, volumes)


def _hard_quotas(settings: Iterable[str]) -> QuotaUse:
    quotas = attrs.asdict(EXAMPLE_HARD_QUOTAS)
    for setting in settings:
        name, _, number = setting.partition("=")
        if name not in quotas or not number.isdigit():
            known = ", ".join(quotas)
            raise click.BadParameter(
                f"{setting!r} is not NAME=NUMBER with a name of {known}", param_hint="--quota"
            )
        quotas[name] = int(number)
    return QuotaUse(**quotas)


def _catalogue(path: Path | None) -> ImageCatalogue:
    if path is None:
        return ImageCatalogue.default()
    try:
        return ImageCatalogue.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, CatalogueError) as error:
        raise click.BadParameter(str(error), param_hint="--images") from error


def _fault_rules(path: Path | None) -> FaultRules:
    if path is None:
        return FaultRules()
    try:
        return parse_rules(path.read_bytes())
    except (OSError, RulesError) as error:
        raise click.BadParameter(str(error), param_hint="--faults") from error


async def _serve_until_signalled(simulator: CloudSimulator, host: str, port: int) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(simulator.run)
            bound = await nursery.start(partial(serve, simulator.handle, host=host, port=port))
            url = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
            log.info("cloud simulator ready", url=url)
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()
