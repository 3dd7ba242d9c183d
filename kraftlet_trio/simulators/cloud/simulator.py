"""A simulated Unikraft Cloud: one account in one metro, as a request handler."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus

import attrs
import trio

from kraftlet_trio.cloud.objects import QuotaLimits, QuotaUse
from kraftlet_trio.http.messages import Request, Response
from kraftlet_trio.simulators.cloud import api
from kraftlet_trio.simulators.cloud.account import Account
from kraftlet_trio.simulators.cloud.audit import Audit
from kraftlet_trio.simulators.cloud.calls import Cloud
from kraftlet_trio.simulators.cloud.envelope import refusal
from kraftlet_trio.simulators.cloud.faults import Faults
from kraftlet_trio.simulators.cloud.gateway import Gateway
from kraftlet_trio.simulators.cloud.host_restart import recover
from kraftlet_trio.simulators.cloud.images import ImageCatalogue
from kraftlet_trio.simulators.cloud.lifecycle import Lifecycle
from kraftlet_trio.simulators.cloud.private_network import connect_privately
from kraftlet_trio.simulators.cloud.runtime import Runtime
from kraftlet_trio.simulators.cloud.runtime_virtual import VirtualRuntime
from kraftlet_trio.simulators.cloud.settings import (
    EXAMPLE_HARD_QUOTAS,
    EXAMPLE_LIMITS,
    CloudSettings,
)
from kraftlet_trio.simulators.cloud.state_directory import StateDirectory
from kraftlet_trio.simulators.cloud.state_keeper import StateKeeper

_MOST_BODY_BYTES = 8 * 1024 * 1024


class CloudSimulator:
    """Answers requests by :meth:`handle` while :meth:`run` is running.

    All of its time is Trio's, so under a mocked clock it lives on that.
    """

    def __init__(
        self,
        *,
        token: str,
        metro: str = "sim",
        quotas: QuotaUse = EXAMPLE_HARD_QUOTAS,
        limits: QuotaLimits = EXAMPLE_LIMITS,
        images: ImageCatalogue | None = None,
        runtime: Runtime | None = None,
        settings: CloudSettings | None = None,
        state: StateDirectory | None = None,
    ) -> None:
        self.settings = settings or CloudSettings()
        self.images = images or ImageCatalogue.default()
        self.runtime = runtime or VirtualRuntime(self.settings)
        self.account = Account(
            metro=metro,
            hard=quotas,
            limits=limits,
            network=self.runtime.network,
            settings=self.settings,
        )
        self._keeper = None if state is None else StateKeeper(self.account, state)
        if state is not None and state.saved is not None:
            self.account.uuid = state.saved.uuid
        self.audit = Audit(owner=self.account.uuid, backlog=self.settings.audit_backlog)
        self.faults = Faults(self._set_hard_quotas)
        """To be added to at any time."""
        self.requests: Counter[str] = Counter()
        """How many came, by method and route, as in ``GET /v1/instances/{u}``."""
        self._token = token
        self._cloud: Cloud | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let instances live until cancelled: then all of them end, their processes included.

        With a state directory, raises ``StateError`` at once if that is damaged.
        """
        with self.runtime.opened(), self._kept():
            async with trio.open_nursery() as nursery:
                lifecycle = Lifecycle(
                    self.account, self.audit, self.images, self.runtime, self.settings, nursery
                )
                gateway = None
                if self.settings.serve_groups:
                    gateway = Gateway(self.account, lifecycle, self.runtime, self.settings)
                    await nursery.start(gateway.run)
                self._cloud = Cloud(
                    account=self.account,
                    audit=self.audit,
                    faults=self.faults,
                    images=self.images,
                    runtime=self.runtime,
                    lifecycle=lifecycle,
                    nursery=nursery,
                    gateway=gateway,
                    settings=self.settings,
                )
                if self._keeper is not None:
                    recover(self.account, lifecycle)
                    nursery.start_soon(self._keeper.keep_forever)
                task_status.started()
                await trio.sleep_forever()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """The account is restored first, and written down at the end."""
        if self._keeper is None:
            yield
            return
        self._keeper.restore()
        try:
            yield
        finally:
            self._keeper.keep_once()

    async def dial(self, address: str, port: int) -> trio.abc.HalfCloseableStream:
        """Connect to an instance at its private address, from inside of the platform's network.

        Wakes it up, as all private traffic does. Raises ``OSError``.
        """
        if self._cloud is None:
            raise RuntimeError("the cloud simulator is not running")
        return await connect_privately(self._cloud, address, port)

    async def handle(self, request: Request) -> Response:
        """Answer one request. ``RuntimeError`` while :meth:`run` is not running."""
        routed = api.find_route(request.path)
        self.requests[f"{request.method} {routed.route.path if routed else 'elsewhere'}"] += 1
        try:
            if request.path.startswith(api.OWN_PATHS):
                return await self._answer(request, routed)
            return await self.faults.handle(request, lambda request: self._answer(request, routed))
        finally:
            if request.method != "GET":
                self.account.changed.ring()

    def _set_hard_quotas(self, changed: Mapping[str, int]) -> None:
        self.account.hard = attrs.evolve(self.account.hard, **changed)

    async def _answer(self, request: Request, routed: api.Routed | None) -> Response:
        if self._cloud is None:
            raise RuntimeError("the cloud simulator is not running")
        given = request.headers.get("authorization", "").encode()
        authorized = hmac.compare_digest(given, f"Bearer {self._token}".encode())
        if len(request.body) > _MOST_BODY_BYTES:
            return refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request body too large")
        return await api.answer(self._cloud, request, routed, authorized=authorized)
