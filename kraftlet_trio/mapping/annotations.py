"""Annotations that shape what a Pod or a Service becomes in the cloud.

A value that cannot be understood counts as absent, and is reported as a problem beside the result.
So is a key of ours that is not known, most often a slip of the pen. A blank value is an absent one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

import attrs

from kraftlet_trio.cloud.objects import ScaleToZero
from kraftlet_trio.kubernetes.objects import Service
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.mapping.names import is_dns_label
from kraftlet_trio.mapping.problems import shown

POD_PREFIX: Final = "cloud.unikraft.v1.instances/"
SERVICE_PREFIX: Final = "cloud.unikraft.v1.services/"

AUTOSTART: Final = POD_PREFIX + "autostart"
TEMPLATE: Final = POD_PREFIX + "template"
SCALE_TO_ZERO_POLICY: Final = POD_PREFIX + "scale_to_zero.policy"
SCALE_TO_ZERO_STATEFUL: Final = POD_PREFIX + "scale_to_zero.stateful"
SCALE_TO_ZERO_COOLDOWN: Final = POD_PREFIX + "scale_to_zero.cooldown_time_ms"
SERVICE_GROUPS: Final = POD_PREFIX + "service-groups"
"""Written by the daemon: names of the service groups that the Pod's instances join, by comma.

Service groups carry no tags and Services may be gone before their Pods, so this is what tells a
later daemon which groups to remove.
"""
DOMAIN: Final = SERVICE_PREFIX + "domain"

_POD_KEYS = (
    AUTOSTART,
    TEMPLATE,
    SCALE_TO_ZERO_POLICY,
    SCALE_TO_ZERO_STATEFUL,
    SCALE_TO_ZERO_COOLDOWN,
)
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_POLICIES = ("on", "off", "idle")
_DEFAULT_POLICY = "on"
_DEFAULT_COOLDOWN_MS = 1000
_DEFAULT_SCALE_TO_ZERO = ScaleToZero(
    policy=_DEFAULT_POLICY, stateful=False, cooldown_time_ms=_DEFAULT_COOLDOWN_MS
)
_LONGEST_COOLDOWN_MS = 2**31 - 1
_LONGEST_DOMAIN = 253


@attrs.frozen
class AnnotationProblem:
    """An annotation without effect."""

    key: str
    value: str
    cure: str
    """What holds instead, and what to write."""

    @property
    def message(self) -> str:
        return f"annotation {self.key}: {shown(self.value)} has no effect; {self.cure}"


@attrs.frozen(kw_only=True)
class PodOptions:
    """What a Pod's annotations ask for, for each of its instances."""

    autostart: bool = True
    template: str | None = None
    """Name of an instance template to use in place of the containers' images."""
    scale_to_zero: ScaleToZero = _DEFAULT_SCALE_TO_ZERO
    """Asked for; an instance that nothing could wake does without."""
    problems: tuple[AnnotationProblem, ...] = ()


@attrs.frozen(kw_only=True)
class ServiceDomains:
    """The domains that a Service's annotations ask for, in lower case, else as written."""

    common: str | None = None
    of_container: Mapping[str, str] = attrs.field(factory=dict)
    problems: tuple[AnnotationProblem, ...] = ()


def pod_options(pod: Pod) -> PodOptions:
    """What the annotations of *pod* ask for. Never raises."""
    annotations = _Annotations(pod.metadata.annotations)
    scale_to_zero = ScaleToZero(
        policy=annotations.policy(SCALE_TO_ZERO_POLICY, _DEFAULT_POLICY),
        stateful=annotations.boolean(SCALE_TO_ZERO_STATEFUL, default=False),
        cooldown_time_ms=annotations.milliseconds(SCALE_TO_ZERO_COOLDOWN, _DEFAULT_COOLDOWN_MS),
    )
    autostart = annotations.boolean(AUTOSTART, default=True)
    template = annotations.text(TEMPLATE) or None
    annotations.report_unknown(POD_PREFIX, _POD_KEYS)
    return PodOptions(
        autostart=autostart,
        template=template,
        scale_to_zero=scale_to_zero,
        problems=tuple(annotations.problems),
    )


def service_domains(service: Service) -> ServiceDomains:
    """What the annotations of *service* ask for. Never raises."""
    annotations = _Annotations(service.metadata.annotations)
    of_container = {}
    known = [DOMAIN]
    for key in sorted(service.metadata.annotations):
        if key.startswith(f"{DOMAIN}."):
            known.append(key)
            if domain := annotations.domain(key):
                of_container[key.removeprefix(f"{DOMAIN}.")] = domain
    common = annotations.domain(DOMAIN)
    annotations.report_unknown(SERVICE_PREFIX, known)
    return ServiceDomains(
        common=common, of_container=of_container, problems=tuple(annotations.problems)
    )


def is_domain(text: str) -> bool:
    """Whether *text* is a lower-case DNS name, perhaps a wildcard, perhaps with a final dot."""
    name = text.removesuffix(".")
    labels = name.split(".")
    if labels[0] == "*" and len(labels) > 1:
        labels = labels[1:]
    return len(name) <= _LONGEST_DOMAIN and all(map(is_dns_label, labels))


class _Annotations:
    """Reads values, and notes down those that it cannot read."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.problems: list[AnnotationProblem] = []

    def text(self, key: str) -> str:
        return self._values.get(key, "").strip()

    def boolean(self, key: str, *, default: bool) -> bool:
        text = self.text(key)
        value = _BOOLEANS.get(text.lower())
        if value is not None:
            return value
        if text:
            used = "true" if default else "false"
            self._report(key, f'"{used}" is used; write "true" or "false"')
        return default

    def policy(self, key: str, default: str) -> str:
        text = self.text(key).lower()
        if text in _POLICIES:
            return text
        if text:
            self._report(key, f'"{default}" is used; write "on", "off" or "idle", in quotes')
        return default

    def milliseconds(self, key: str, default: int) -> int:
        text = self.text(key)
        if re.fullmatch(r"[0-9]{1,10}", text) and int(text) <= _LONGEST_COOLDOWN_MS:
            return int(text)
        if text:
            self._report(
                key,
                f'"{default}" is used; write whole milliseconds from 0 to {_LONGEST_COOLDOWN_MS}',
            )
        return default

    def domain(self, key: str) -> str | None:
        text = self.text(key).lower()
        if is_domain(text):
            return text
        if text:
            self._report(
                key,
                'the domain is left out; write one DNS name, such as "my-app" or "app.example.com"',
            )
        return None

    def report_unknown(self, prefix: str, known: Collection[str]) -> None:
        for key in sorted(self._values):
            if key.startswith(prefix) and key not in known and key != SERVICE_GROUPS:
                names = ", ".join(key.removeprefix(prefix) for key in known)
                self._report(key, f"no such annotation is known here; known: {names}")

    def _report(self, key: str, cure: str) -> None:
        self.problems.append(AnnotationProblem(key, self._values[key], cure))
