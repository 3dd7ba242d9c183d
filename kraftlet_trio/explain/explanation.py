"""What an explanation says: of each Pod its cloud resources, and what keeps it from running."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from kraftlet_trio.explain.reasons import Field


@attrs.frozen
class Resource:
    """A cloud resource that would be made."""

    kind: Literal["instance", "service group", "volume"]
    name: str
    stands_for: str
    request: Mapping[str, Any]
    """As the platform would get it."""
    fields: tuple[Field, ...]


@attrs.frozen
class Remark:
    reason: str
    """As an event would bear it."""
    message: str
    container: str = ""


@attrs.frozen(kw_only=True)
class PodExplanation:
    pod: str
    """``<namespace>/<name>``."""
    made_by: str
    resources: tuple[Resource, ...] = ()
    warnings: tuple[Remark, ...] = ()
    refusals: tuple[Remark, ...] = ()
    """Why it, or a container of it, would not run."""


@attrs.frozen(kw_only=True)
class Explanation:
    pods: tuple[PodExplanation, ...] = ()
    volumes: tuple[Resource, ...] = ()
    """Of claims, whichever Pods mount them."""
    refusals: tuple[Remark, ...] = ()
    """Claims for which there can be no volume."""
    assumptions: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        return bool(self.refusals) or any(pod.refusals for pod in self.pods)
