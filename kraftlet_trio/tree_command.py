"""``kraftlet-trio tree``: what the tasks of a running daemon are doing, drawn."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import orjson
import trio

from kraftlet_trio.kubernetes.config import ConfigError, load_kubeconfig
from kraftlet_trio.kubernetes.connection import ApiConnection, Call
from kraftlet_trio.kubernetes.errors import Forbidden, KubernetesError, NotFound

Json = Mapping[str, Any]


@click.command("tree")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    help="Kubeconfig file.  [$KUBECONFIG, else ~/.kube/config]",
)
@click.option(
    "--node",
    default="kraftlet",
    show_default=True,
    envvar="KRAFTLET_NODE_NAME",
    help="Whose daemon.",
)
@click.option("--pod", default="", help="Only tasks of this Pod: NAMESPACE/NAME.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def tree_command(kubeconfig: Path | None, node: str, pod: str, output: str) -> None:
    """Show the tasks of a node's running daemon: for which Pod, in what state, waiting for what.

    The daemon is asked through the API server, which takes the right to get nodes/proxy.
    """
    try:
        document = trio.run(_ask, kubeconfig, node)
    except (ConfigError, KubernetesError, ValueError) as error:
        click.echo(f"kraftlet-trio: {error}", err=True)
        sys.exit(1)
    if pod:
        document = {**document, "tasks": list(of_pod(document["tasks"], pod))}
        if not document["tasks"]:
            click.echo(f"kraftlet-trio: node {node} has no task for Pod {pod}", err=True)
            sys.exit(1)
    if output == "json":
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    else:
        click.echo("\n".join(drawn(document)))


async def _ask(kubeconfig: Path | None, node: str) -> Json:
    """Raises ``ConfigError``, ``KubernetesError``, ``ValueError``."""
    connection = ApiConnection(load_kubeconfig(kubeconfig), None)
    path = f"/api/v1/nodes/{quote(node, safe='')}/proxy/debug/tree"
    try:
        answer = await connection.answer(Call(method="GET", path=path, repeatable=True))
    except NotFound as error:
        raise NotFound(f"{error}; is there a node {node}, and is it kraftlet-trio's?") from error
    except Forbidden as error:
        raise Forbidden(f"{error}; bind a ClusterRole with get on nodes/proxy") from error
    finally:
        await connection.aclose()
    document = orjson.loads(answer)
    if not isinstance(document, dict) or not isinstance(document.get("tasks"), list):
        raise ValueError(f"node {node} does not answer with its tasks; is it kraftlet-trio's?")
    return document


def of_pod(tasks: Sequence[Json], pod: str) -> Iterator[Json]:
    """The outermost tasks that are for *pod*."""
    for task in tasks:
        if task.get("pod") == pod:
            yield task
        else:
            for nursery in task.get("nurseries", ()):
                yield from of_pod(nursery, pod)


def drawn(document: Json) -> Iterator[str]:
    """A line for each task and each nursery but a task's only one."""
    now = datetime.fromisoformat(document["at"])
    for task in document["tasks"]:
        yield from _drawn_task(task, "", "", now)


def _drawn_task(task: Json, first: str, others: str, now: datetime) -> Iterator[str]:
    yield first + _line(task, now)
    nurseries = task.get("nurseries", [])
    branches: list[tuple[str, Sequence[Json]]] = [("nursery", nursery) for nursery in nurseries]
    if len(nurseries) == 1:
        yield from _drawn_tasks(nurseries[0], others, now)
        return
    for place, (label, tasks) in enumerate(branches):
        corner, beside = _edges(is_last=place == len(branches) - 1)
        yield f"{others}{corner}{label}"
        yield from _drawn_tasks(tasks, others + beside, now)


def _drawn_tasks(tasks: Sequence[Json], others: str, now: datetime) -> Iterator[str]:
    for place, task in enumerate(tasks):
        corner, beside = _edges(is_last=place == len(tasks) - 1)
        yield from _drawn_task(task, others + corner, others + beside, now)


def _edges(*, is_last: bool) -> tuple[str, str]:
    return ("└── ", "    ") if is_last else ("├── ", "│   ")


def _line(task: Json, now: datetime) -> str:
    words = [task["name"]]
    if pod := task.get("pod"):
        words.append(f"[{pod}]")
    words.append(task["state"])
    if since := task.get("since"):
        words.append(_ago((now - datetime.fromisoformat(since)).total_seconds()))
    if task.get("nurseries") and task.get("waitingFor", "").startswith("NurseryManager"):
        return "  ".join(words)
    if waiting_for := task.get("waitingFor"):
        # That somebody waits for a bell says little without whose it is.
        places = [place for place in task.get("in", ()) if not place.startswith("Doorbell.")]
        words.append(f"{waiting_for} in {places[-1]}" if places else waiting_for)
    return "  ".join(words)


def _ago(seconds: float) -> str:
    if seconds < 60:
        return f"{max(seconds, 0):.1f}s"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m" if hours else f"{minutes}m{seconds}s"
