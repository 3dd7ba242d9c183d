"""Endpoints under /v1/images: what the node has, and what is pinned to it."""

from __future__ import annotations

from typing import Any

import attrs
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.http.messages import Response
from kraftlet_trio.simulators.cloud.actions import new_uuid
from kraftlet_trio.simulators.cloud.calls import Call, Cloud, Waiting, perform_each, wait_seconds
from kraftlet_trio.simulators.cloud.envelope import (
    Outcome,
    envelope,
    failure,
    success,
    timed_out,
)
from kraftlet_trio.simulators.cloud.errors import BadRequest, ErrorCode, ItemError
from kraftlet_trio.simulators.cloud.identifiers import Identifier
from kraftlet_trio.simulators.cloud.images import ImageEntry, ImageName
from kraftlet_trio.simulators.cloud.instance_spec import read_credentials, read_image
from kraftlet_trio.simulators.cloud.listing import timestamp
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.records import Pin
from kraftlet_trio.simulators.cloud.service_spec import read_autokill_ms
from kraftlet_trio.simulators.cloud.validation import valid_uuid

KIND = "images"
_IMAGE_BYTES = 16 * 1024 * 1024


async def read_images(cloud: Cloud, call: Call) -> Response:
    """Images of the account's instances, for those are what the node pulled, and pinned ones."""
    since = {pin.image: pin.created_at for pin in cloud.account.pins}
    pinned = set(since)
    for instance in cloud.account.instances:
        since.setdefault(instance.image, instance.created_at)
    digest, tag = call.query.last("digest"), call.query.last("tag")
    shown = []
    for image, created_at in since.items():
        if digest is not None and not image.resolved.endswith(digest):
            continue
        if tag in (None, image.tag):
            entry = {**_image(cloud, image), "created_at": timestamp(created_at)}
            shown.append({**entry, "persistent": True} if image in pinned else entry)
    return envelope(KIND, shown, began=call.began)


def _image(cloud: Cloud, image: ImageName) -> dict[str, Any]:
    """Without an outcome of its own: it is a listing, nobody asked for this one."""
    entry = cloud.images.find(image) or ImageEntry()
    return {
        "url": image.resolved,
        "initrd_or_rom": False,
        "size_in_bytes": _IMAGE_BYTES,
        "args": [*(entry.entrypoint or ()), *entry.cmd],
        "env": dict(entry.env),
        "tags": [image.tag],
        "users": [cloud.account.uuid],
    }


@attrs.frozen(kw_only=True)
class _PinRequest:
    url: str
    credentials: str = attrs.field(repr=False)
    timeout_s: int


async def pin_images(cloud: Cloud, call: Call) -> Response:
    def read(members: Members) -> _PinRequest:
        timeout_s = members.integer("timeout_s", -1)
        if not timeout_s:
            raise BadRequest("'timeout_s' is needed, and is not 0")
        members.flag("merge_requests")
        read_autokill_ms(members)
        given = ("url", "credentials", "headers", "pull_policy")
        image = {name: members.raw(name) for name in given if name in members}
        url, credentials = read_image(image), read_credentials(image)
        members.done()
        return _PinRequest(url=url, credentials=credentials, timeout_s=timeout_s)

    def act(request: _PinRequest) -> Waiting:
        _check_manager(cloud)
        return lambda: _pull(cloud, request)

    outcomes = await perform_each(call, call.items(), read, act)
    return envelope(KIND, outcomes, began=call.began)


async def _pull(cloud: Cloud, request: _PinRequest) -> Outcome:
    image = ImageName.parse(request.url)
    entry = cloud.images.find(image) or ImageEntry()
    seconds = entry.pull_seconds
    with trio.move_on_after(wait_seconds(request.timeout_s, cloud.settings)) as waiting:
        await trio.sleep(cloud.settings.pull_seconds if seconds is None else seconds)
    if waiting.cancelled_caught:
        return timed_out()
    if not entry.is_pulled_with(request.credentials):
        return failure(ItemError(ErrorCode.FAILED, f"Cannot pull image '{request.url}'"))
    pins = cloud.account.pins
    pin = next((each for each in pins if each.image == image), None)
    if pin is None:
        uuid = new_uuid()
        pin = Pin(
            uuid=uuid, name=f"image-{uuid[:8]}", created_at=utc_now(), image=image, url=request.url
        )
        pins.add(pin)
    return success(
        uuid=pin.uuid,
        name=pin.name,
        created_at=timestamp(pin.created_at),
        state="ready",
        url=image.resolved,
        persistent=True,
        tags=[image.tag],
    )


async def unpin_images(cloud: Cloud, call: Call) -> Response:
    def read(members: Members) -> Identifier:
        target = Identifier(uuid=valid_uuid(members.required_text("uuid")))
        members.done()
        return target

    def act(target: Identifier) -> Outcome:
        _check_manager(cloud)
        pin = cloud.account.pins.find(target)
        cloud.account.pins.remove(pin)
        return success(uuid=pin.uuid, name=pin.name)

    outcomes = await perform_each(call, call.items(), read, act)
    return envelope(KIND, outcomes, began=call.began)


def _check_manager(cloud: Cloud) -> None:
    if not cloud.settings.is_image_manager:
        raise ItemError(ErrorCode.NOT_ALLOWED, "Image manager permission is needed")
