"""Prometheus' text format, version 0.0.4. Pure: values in, bytes out.

Labels and samples are written in the order in which they are given, for there are readers that go
by position. Source: prometheus.io/docs/instrumenting/exposition_formats.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import attrs

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


@attrs.frozen
class Sample:
    value: float
    labels: Labels = ()
    at_ms: int | None = attrs.field(default=None, kw_only=True)
    """Milliseconds since the epoch at which it was taken; None: at the time of the scrape."""
    suffix: str = attrs.field(default="", kw_only=True)
    """Behind the family's name: a histogram's ``_bucket``, ``_sum`` and ``_count``."""


@attrs.frozen
class Family:
    """All samples of one name. *name* is written as it stands, a counter's ``_total`` included."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: tuple[Sample, ...]


def render(families: Iterable[Family]) -> bytes:
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escaped(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += (_line(family.name, sample) for sample in family.samples)
    return "".join(f"{line}\n" for line in lines).encode()


def _line(name: str, sample: Sample) -> str:
    labels = ",".join(f'{label}="{_quotable(value)}"' for label, value in sample.labels)
    identity = f"{name}{sample.suffix}{{{labels}}}" if labels else f"{name}{sample.suffix}"
    at = "" if sample.at_ms is None else f" {sample.at_ms}"
    return f"{identity} {number(sample.value)}{at}"


def number(value: float) -> str:
    """The shortest text that reads back as *value*."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quotable(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
