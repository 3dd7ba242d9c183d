"""An explanation as tables for people, or as data for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kraftlet_trio.explain.explanation import Explanation, PodExplanation, Remark, Resource


def as_data(explanation: Explanation) -> dict[str, Any]:
    """Of JSON's types only."""
    return {
        "pods": [
            {
                "pod": pod.pod,
                **({"madeBy": pod.made_by} if pod.made_by else {}),
                "resources": list(map(_resource, pod.resources)),
                "warnings": list(map(_remark, pod.warnings)),
                "refusals": list(map(_remark, pod.refusals)),
            }
            for pod in explanation.pods
        ],
        "volumes": list(map(_resource, explanation.volumes)),
        "refusals": list(map(_remark, explanation.refusals)),
        "assumptions": list(explanation.assumptions),
    }


def _resource(resource: Resource) -> dict[str, Any]:
    return {
        "kind": resource.kind,
        "name": resource.name,
        "for": resource.stands_for,
        "request": resource.request,
        "fields": [attrs.asdict(field) for field in resource.fields],
    }


def _remark(remark: Remark) -> dict[str, str]:
    return {key: value for key, value in attrs.asdict(remark).items() if value}


def show(explanation: Explanation, console: Console) -> None:
    """Print it as tables."""
    for pod in explanation.pods:
        title = f"Pod {pod.pod}"
        if pod.made_by:
            title += f", of {pod.made_by}"
        console.print(Text(title, style="bold"))
        for resource in pod.resources:
            console.print(_table(resource))
        for line in _remarks_of(pod):
            console.print(line)
        console.print()
    for resource in explanation.volumes:
        console.print(_table(resource))
    for refusal in explanation.refusals:
        console.print(_line("refused", "red", refusal))
    if explanation.assumptions:
        console.print(Text("Assumed, for it is not among the manifests:", style="bold"))
        for assumption in explanation.assumptions:
            console.print(Text(f"  {assumption}"))


def _table(resource: Resource) -> Table:
    table = Table(
        title=Text(f"{resource.kind} {resource.name} ← {resource.stands_for}"),
        title_justify="left",
        title_style="",
        box=None,
        pad_edge=False,
    )
    for heading in ("  field", "value", "because"):
        table.add_column(heading, overflow="fold")
    for field in resource.fields:
        table.add_row(Text(f"  {field.name}"), Text(_shown(field.value)), Text(field.reason))
    return table


def _shown(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "true" if value else "false"
        case [*parts]:
            return " ".join(map(str, parts))
        case dict():
            return ", ".join(f"{key}: {part}" for key, part in value.items())
    return str(value)


def _remarks_of(pod: PodExplanation) -> Iterator[Text]:
    yield from _lines("warning", "yellow", pod.warnings)
    yield from _lines("refused", "red", pod.refusals)


def _lines(word: str, style: str, remarks: Iterable[Remark]) -> Iterator[Text]:
    for remark in remarks:
        yield _line(word, style, remark)


def _line(word: str, style: str, remark: Remark) -> Text:
    where = f" ({remark.container})" if remark.container else ""
    return Text.assemble((word, style), f" {remark.reason}{where}: {remark.message}")
