"""``/containerLogs``: what containers wrote, while their Pods are there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from urllib.parse import unquote

import attrs
import structlog

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.console import ConsolePage
from kraftlet_trio.cloud.errors import CloudError, ResourceNotFound
from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.consoles.consoles import Consoles
from kraftlet_trio.consoles.run_log import LogQuestion, RunLog, RunNotFound
from kraftlet_trio.http.messages import Request, Response, SendBytes
from kraftlet_trio.kubelet_api.answers import PLAIN, text
from kraftlet_trio.kubelet_api.log_options import BadLogOptions, LogOptions, log_options
from kraftlet_trio.kubernetes.pod import ContainerStatus, Pod
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.console_runs import NoLog, run_to_show
from kraftlet_trio.mapping.container_status import container_status_of
from kraftlet_trio.mapping.names import container_of

log = structlog.get_logger()

PATIENCE_SECONDS = 4 * 3600.0
"""For somebody who reads a log in a pager; the kubelet's ``streamingConnectionIdleTimeout``."""

_HEADERS: Mapping[str, str] = {"content-type": PLAIN}


@attrs.frozen
class ContainerLogs:
    _pods: Store[Pod]
    _feed: InstanceFeed
    _consoles: Consoles

    async def answer(
        self, request: Request, namespace: str, pod_name: str, container: str
    ) -> Response:
        """The parts of the path are percent-encoded still."""
        pod_name, container = unquote(pod_name), unquote(container)
        try:
            options = log_options(request.query, utc_now())
        except BadLogOptions as problem:
            return text(str(problem), problem.status)
        pod = self._pods.by_name(unquote(namespace), pod_name)
        if pod is None:
            return text(f'pod "{pod_name}" does not exist\n', 404)
        if container not in _containers(pod):
            return text(f'container "{container}" not found in pod "{pod_name}"\n', 404)
        try:
            run = self._run_log(pod, container, options)
            extent = await run.measure()
        except NoLog as reason:
            return text(str(reason), 400)
        except ResourceNotFound:
            return text(f'container "{container}" in pod "{pod_name}" is not available', 400)
        except CloudError as error:
            return text(f"Unikraft Cloud does not tell the log: {error}\n", 503)
        return Response(
            headers=_HEADERS,
            stream=partial(_stream, run, options.question, extent),
            patience_seconds=PATIENCE_SECONDS,
        )

    def _run_log(self, pod: Pod, container: str, options: LogOptions) -> RunLog:
        """Raises ``NoLog``."""
        status = _status(pod, container)
        shown = run_to_show(
            pod.metadata.name,
            container,
            status,
            self._instance(pod, container),
            utc_now(),
            previous=options.previous,
        )
        uuid = shown.container_id.rpartition("//")[2]
        if not self._consoles.exists(uuid):
            raise NoLog(f"unable to retrieve container logs for {shown.container_id}")
        try:
            return RunLog(self._consoles, uuid, shown.which, shown.ended_at)
        except RunNotFound:
            raise NoLog(
                f'previous terminated container "{container}" in pod "{pod.metadata.name}" '
                "not found"
            ) from None

    def _instance(self, pod: Pod, container: str) -> Instance | None:
        instances = self._feed.of_pod(pod.metadata.uid).values()
        return next((one for one in instances if container_of(one.tags) == container), None)


async def _stream(run: RunLog, question: LogQuestion, extent: ConsolePage, send: SendBytes) -> None:
    try:
        await run.write(question, extent, send)
    except CloudError as error:
        # The answer has begun: all that can be said is that there is no more.
        log.warning("log cut short", error=str(error))


def _containers(pod: Pod) -> set[str]:
    spec = pod.spec
    own = {one.name for one in (*spec.init_containers, *spec.containers)}
    return own | {one.name for one in spec.ephemeral_containers}


def _status(pod: Pod, container: str) -> ContainerStatus | None:
    ephemeral = pod.status.ephemeral_container_statuses
    return container_status_of(pod.status, container) or next(
        (one for one in ephemeral if one.name == container), None
    )
