"""What the node tells of its use, in each of the forms that a kubelet has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import attrs
import structlog

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.errors import CloudError
from kraftlet_trio.http.messages import Request, Response, json_response
from kraftlet_trio.kubelet_api.answers import text
from kraftlet_trio.kubelet_api.cadvisor_metrics import cadvisor_metrics
from kraftlet_trio.kubelet_api.resource_metrics import resource_metrics
from kraftlet_trio.kubelet_api.served_requests import ServedRequests
from kraftlet_trio.kubelet_api.stats_summary import stats_summary
from kraftlet_trio.kubelet_api.usage import NodeUsage
from kraftlet_trio.kubelet_api.usage_source import UsageSource
from kraftlet_trio.kubelet_api.volume_usage import VolumeSource, volume_metrics
from kraftlet_trio.kubernetes.objects import Node
from kraftlet_trio.mapping.quantities import QuantityError, quantity
from kraftlet_trio.metrics.exposition import CONTENT_TYPE, Family, render
from kraftlet_trio.probes.measurements import ProbeMeasurements

log = structlog.get_logger()


@attrs.frozen(kw_only=True)
class MetricPages:
    node_name: str
    usage: UsageSource
    volumes: VolumeSource
    own: Callable[[], Iterable[Family]]
    """The daemon's own metrics."""
    probe_measurements: ProbeMeasurements
    node: Callable[[], Node | None]
    """Our own Node, once it is registered."""
    started_at: datetime = attrs.field(factory=utc_now)
    """When the daemon did."""

    async def metrics(self, served: ServedRequests) -> Response:
        """The daemon's own, with what the kubelet API *served*."""
        volumes = volume_metrics(await self.volumes.read())
        return exposition(*self.own(), *served.families(), *volumes)

    async def resource(self, _request: Request) -> Response:
        return exposition(*resource_metrics(await self._usage()))

    async def cadvisor(self, _request: Request) -> Response:
        return exposition(
            *cadvisor_metrics(
                await self._usage(),
                cpus=self._capacity("cpu"),
                memory_bytes=int(self._capacity("memory")),
            )
        )

    async def probes(self, _request: Request) -> Response:
        return exposition(*self.probe_measurements.families())

    async def summary(self, request: Request) -> Response:
        trimmed = dict(request.query).get("only_cpu_and_memory", "") in ("true", "1")
        try:
            usage = await self.usage.read()
        except CloudError as error:
            return text(f"the platform does not tell what containers use: {error}\n", 503)
        summary: dict[str, Any] = stats_summary(
            usage,
            node_name=self.node_name,
            started_at=self.started_at,
            volumes=() if trimmed else await self.volumes.read(),
            only_cpu_and_memory=trimmed,
        )
        return json_response(summary)

    async def _usage(self) -> NodeUsage | None:
        try:
            return await self.usage.read()
        except CloudError as error:
            log.debug("the containers' use is not known", error=str(error))
            return None

    def _capacity(self, resource: str) -> float:
        """0 where it is not known."""
        node = self.node()
        try:
            return float(quantity(node.status.capacity.get(resource, "0"))) if node else 0.0
        except QuantityError:
            return 0.0


def exposition(*families: Family) -> Response:
    return Response(headers={"content-type": CONTENT_TYPE}, body=render(families))
