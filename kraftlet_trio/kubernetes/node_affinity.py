"""Which nodes a Pod chooses by affinity: the part that is required, and holds at admission too."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class NodeSelectorRequirement:
    key: str = ""
    operator: str = ""
    """``In``, ``NotIn``, ``Exists``, ``DoesNotExist``, ``Gt`` or ``Lt``."""
    values: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class NodeSelectorTerm:
    """All of it has to hold."""

    match_expressions: tuple[NodeSelectorRequirement, ...] = ()
    match_fields: tuple[NodeSelectorRequirement, ...] = ()


@attrs.frozen(kw_only=True)
class NodeSelector:
    """One of the terms has to hold."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


@attrs.frozen(kw_only=True)
class NodeAffinity:
    required_during_scheduling_ignored_during_execution: NodeSelector | None = None


@attrs.frozen(kw_only=True)
class Affinity:
    node_affinity: NodeAffinity | None = None
