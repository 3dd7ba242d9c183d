"""Endpoints of the account and the node: images, quotas, health."""

from __future__ import annotations

from typing import Any

import attrs

from kraftlet_trio.http.messages import Response, json_response
from kraftlet_trio.simulators.cloud.calls import Call, Cloud
from kraftlet_trio.simulators.cloud.envelope import envelope, success
from kraftlet_trio.simulators.cloud.images import ImageName
from kraftlet_trio.simulators.cloud.listing import timestamp
from kraftlet_trio.simulators.cloud.records import Instance


async def read_health(cloud: Cloud, _call: Call) -> Response:
    data = {"checks": cloud.account.health, "versions": {}}
    return json_response({"status": "success", "data": data})


async def read_images(cloud: Cloud, call: Call) -> Response:
    """Images of the account's instances: those are what the node has pulled."""
    users: dict[ImageName, list[Instance]] = {}
    for instance in cloud.account.instances:
        users.setdefault(instance.image, []).append(instance)
    digest, tag = call.query.last("digest"), call.query.last("tag")
    shown = [
        _image(cloud, image, instances)
        for image, instances in users.items()
        if (digest is None or image.resolved.endswith(digest)) and (tag in (None, image.tag))
    ]
    return envelope("images", shown, began=call.began)


def _image(cloud: Cloud, image: ImageName, instances: list[Instance]) -> dict[str, Any]:
    entry = cloud.images.find(image)
    return success(
        url=image.resolved,
        created_at=timestamp(min(instance.created_at for instance in instances)),
        initrd_or_rom=False,
        size_in_bytes=_IMAGE_BYTES,
        args=list(entry.args) if entry else [],
        env=[f"{name}={value}" for name, value in entry.env.items()] if entry else [],
        tags=[image.tag],
        users=len(instances),
        persistent=False,
    )


_IMAGE_BYTES = 16 * 1024 * 1024


async def read_quotas(cloud: Cloud, call: Call) -> Response:
    account = cloud.account
    live_instances = sum(instance.is_live for instance in account.instances)
    quotas = success(
        uuid=account.uuid,
        used={**attrs.asdict(account.used()), "live_instances": live_instances},
        # An alias kept for old clients.
        hard={**attrs.asdict(account.hard), "live_instances": account.hard.live_vcpus},
        limits={**attrs.asdict(account.limits), "min_autoscale_size": 0, "max_autoscale_size": 16},
    )
    return envelope("quotas", [quotas], began=call.began)
