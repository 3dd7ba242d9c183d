"""What an instance is made of, noted in its tags, and what of that is out of date.

A Pod's image and resources may change while it runs, and so may what it refers to. The platform
shows no content of files, and an image only by its digest, so short hashes of what was asked for
are kept in tags: they are read with the instance, change at once, and outlive the daemon.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import attrs

from kraftlet_trio.cloud.objects import (
    Instance,
    InstancePatch,
    InstanceRequest,
    ScaleToZero,
)
from kraftlet_trio.cloud.serialization import unstructure
from kraftlet_trio.kubernetes.pod import Container
from kraftlet_trio.mapping.console_runs import console_notes
from kraftlet_trio.mapping.container_state import ImageUnavailable, container_run

_SPEC = "kraftlet:spec="
_CONTENT = "kraftlet:content="
_RENEWAL = "kraftlet:renewal="


@attrs.frozen
class SpecHash:
    """Of the parts of a container that may change while it runs.

    Who hashes in another way has to write another number of parts: then instances with the former
    notes are taken as they are, instead of being restarted all at once.
    """

    image: str
    size: str
    scale_to_zero: str

    def __str__(self) -> str:
        return f"{self.image}.{self.size}.{self.scale_to_zero}"


def spec_hash(container: Container, scale_to_zero: ScaleToZero) -> SpecHash:
    """What *container* asks for now; *scale_to_zero* is its Pod's wish."""
    resources = container.resources
    size = [
        {name: side[name] for name in ("cpu", "memory") if name in side}
        for side in (resources.limits, resources.requests)
    ]
    return SpecHash(
        image=_hash(container.image),
        size=_hash(size),
        scale_to_zero=_hash(unstructure(scale_to_zero)),
    )


def content_hash(request: InstanceRequest) -> str:
    """Of all in *request* that may come from other objects: arguments, environment, files."""
    return _hash(
        [
            unstructure(request.args),
            dict(sorted((request.env or {}).items())),
            unstructure(request.roms),
            unstructure(request.plugins),
        ]
    )


def noted(
    request: InstanceRequest, spec: SpecHash, content: str, renewal: datetime | None
) -> InstanceRequest:
    """*request* with notes of what it is made of, and when something in it is to be renewed."""
    notes = [f"{_SPEC}{spec}", f"{_CONTENT}{content}"]
    if renewal is not None:
        notes.append(f"{_RENEWAL}{int(renewal.timestamp())}")
    return attrs.evolve(request, tags=(*(request.tags or ()), *notes))


def is_outdated(instance: Instance, spec: SpecHash | None) -> bool:
    """Whether its container asks for something else by now. One without a note never is."""
    present = _note(instance.tags, _SPEC)
    return spec is not None and present is not None and present != str(spec)


def has_other_size(instance: Instance, spec: SpecHash | None) -> bool:
    """Whether its container asks for other resources than it was given."""
    present = _spec_of(instance.tags)
    return spec is not None and present is not None and present.size != spec.size


def renewal_of(instance: Instance) -> datetime | None:
    """When a token in its files is to be replaced, if it has one."""
    text = _note(instance.tags, _RENEWAL)
    return datetime.fromtimestamp(int(text), UTC) if text and text.isdigit() else None


def instance_patch(instance: Instance, request: InstanceRequest, *, renews: bool) -> InstancePatch:
    """What makes *instance* as *request* (with notes) would make it; empty where nothing does.

    *renews* sends its files although they are the same but for a token.
    """
    # Where its runs begin in its console stays noted, whatever it is made of.
    tags = (*(request.tags or ()), *console_notes(instance.tags))
    old, new = _spec_of(instance.tags), _spec_of(tags)
    patch = InstancePatch(tags=tags if set(tags) != set(instance.tags) else None)
    if old is not None and new is not None:
        if old.image != new.image:
            patch = attrs.evolve(patch, image=request.image)
        if old.scale_to_zero != new.scale_to_zero:
            wish = request.scale_to_zero or ScaleToZero(policy="off")
            patch = attrs.evolve(patch, scale_to_zero=wish)
        if old.size != new.size:
            # Many sizes in Kubernetes are one on the platform.
            memory, cpus = request.memory_mb, request.vcpus
            patch = attrs.evolve(
                patch,
                memory_mb=memory if memory != instance.memory_mb else None,
                vcpus=cpus if cpus != instance.vcpus else None,
            )
    if _note(instance.tags, _CONTENT) != _note(tags, _CONTENT):
        patch = attrs.evolve(
            patch,
            args=request.args,
            env=request.env if request.template is None else None,
            roms=request.roms,
            plugins=request.plugins,
        )
    elif renews:
        patch = attrs.evolve(patch, roms=request.roms)
    if _lacks_image(instance):
        # It may have been asked for with a credential that was wrong, or missing, then.
        patch = attrs.evolve(patch, image=request.image)
    return patch


def _lacks_image(instance: Instance) -> bool:
    run = container_run(instance, datetime.max.replace(tzinfo=UTC), deleting=False)
    return isinstance(run, ImageUnavailable)


def _spec_of(tags: tuple[str, ...]) -> SpecHash | None:
    parts = (_note(tags, _SPEC) or "").split(".")
    return SpecHash(*parts) if len(parts) == len(attrs.fields(SpecHash)) else None


def _note(tags: tuple[str, ...], prefix: str) -> str | None:
    return next((tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)), None)


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
