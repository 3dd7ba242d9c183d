"""Service groups that really serve: each of their public ports is one of the loopback.

A listener speaks what the service's handlers say: HTTP, HTTP in TLS, or any bytes in TLS. The
certificates are of an authority that lives as long as the gateway. Traffic wakes members up and
counts; who it goes to is decided in ``balancing``.
"""

from __future__ import annotations

import ssl

import attrs
import h11
import structlog
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.objects import Service
from kraftlet_trio.simulators.certificates import Authority
from kraftlet_trio.simulators.cloud.account import Account
from kraftlet_trio.simulators.cloud.gateway_http import serve_http
from kraftlet_trio.simulators.cloud.gateway_raw import serve_raw
from kraftlet_trio.simulators.cloud.gateway_route import Route
from kraftlet_trio.simulators.cloud.lifecycle import Lifecycle
from kraftlet_trio.simulators.cloud.records import ServiceGroup
from kraftlet_trio.simulators.cloud.runtime import Runtime
from kraftlet_trio.simulators.cloud.settings import CloudSettings

log = structlog.get_logger()

LOOPBACK = "127.0.0.1"
_HANDSHAKE_SECONDS = 30.0
_CLOSE_SECONDS = 1.0
_MOST_CONNECTIONS = 1000
"""At one public port; those beyond are closed."""


@attrs.define(eq=False)
class _Door:
    """One public port of one group, open."""

    group: ServiceGroup
    public_port: int
    local_port: int
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def service(self) -> Service | None:
        """As the group says now; None once the port was taken from it."""
        return next((one for one in self.group.services if one.port == self.public_port), None)


class Gateway:
    """Keeps the listeners in step with the account's groups while :meth:`run` is running."""

    def __init__(
        self, account: Account, lifecycle: Lifecycle, runtime: Runtime, settings: CloudSettings
    ) -> None:
        self._account = account
        self._lifecycle = lifecycle
        self._runtime = runtime
        self._settings = settings
        self._authority = Authority.new(utc_now(), common_name="cloud-simulator-ca")
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}
        """By domains."""
        self._doors: dict[tuple[str, int], _Door] = {}
        """By the group's UUID and public port."""
        self._opened = trio.Event()

    @property
    def ca_pem(self) -> str:
        return self._authority.pem

    async def addresses(self) -> dict[str, dict[str, str]]:
        """``HOST:PORT`` by group and public port, of all groups there are; all are listening."""
        while self._wanted().keys() != self._doors.keys():
            await self._opened.wait()
        shown: dict[str, dict[str, str]] = {group.name: {} for group in self._account.groups}
        for door in self._doors.values():
            address = f"{LOOPBACK}:{door.local_port}"
            shown[door.group.name][str(door.public_port)] = address
        return shown

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                await self._open_and_close(nursery)
                await self._account.groups.changed.wait()

    def _wanted(self) -> dict[tuple[str, int], ServiceGroup]:
        return {
            (group.uuid, service.port): group
            for group in self._account.groups
            for service in group.services
        }

    async def _open_and_close(self, nursery: trio.Nursery) -> None:
        wanted = self._wanted()
        for key in self._doors.keys() - wanted.keys():
            self._doors.pop(key).scope.cancel()
        for key, group in wanted.items():
            if key not in self._doors:
                [listener] = await trio.open_tcp_listeners(0, host=LOOPBACK)
                door = _Door(group, key[1], listener.socket.getsockname()[1])
                self._doors[key] = door
                nursery.start_soon(self._serve_door, door, listener)
                log.info(
                    "service group reachable",
                    group=group.name,
                    domains=list(group.domains),
                    port=door.public_port,
                    address=f"{LOOPBACK}:{door.local_port}",
                )
        domains = {group.domains for group in wanted.values()}
        self._contexts = {key: each for key, each in self._contexts.items() if key in domains}
        self._opened.set()
        self._opened = trio.Event()

    async def _serve_door(self, door: _Door, listener: trio.SocketListener) -> None:
        connections = 0

        async def connected(stream: trio.SocketStream) -> None:
            nonlocal connections
            if connections >= _MOST_CONNECTIONS:
                await stream.aclose()
                return
            connections += 1
            try:
                await self._serve_connection(door, stream)
            finally:
                connections -= 1

        with door.scope:
            await trio.serve_listeners(connected, [listener])

    async def _serve_connection(self, door: _Door, stream: trio.SocketStream) -> None:
        service = door.service()
        if service is None:
            await stream.aclose()
            return
        try:
            if "tls" in service.handlers:
                await self._serve_secure(door, stream)
            else:
                await self._speak(door, stream)
        except (
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            trio.TooSlowError,
            h11.ProtocolError,
        ) as error:
            log.debug("connection lost", group=door.group.name, error=str(error))
        except Exception:
            # A bug stays in its connection.
            log.exception("gateway connection failed", group=door.group.name)
        finally:
            await trio.aclose_forcefully(stream)

    async def _serve_secure(self, door: _Door, stream: trio.SocketStream) -> None:
        context = self._context(door.group.domains)
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with trio.fail_after(_HANDSHAKE_SECONDS):
            await secure.do_handshake()
        await self._speak(door, secure)
        with trio.move_on_after(_CLOSE_SECONDS):
            await secure.aclose()

    async def _speak(self, door: _Door, client: trio.abc.Stream) -> None:
        route = self._route(door)
        if route is None:
            return
        if {"http", "redirect"} & set(route.service.handlers):
            await serve_http(client, lambda: self._route(door))
        else:
            await serve_raw(client, route)

    def _route(self, door: _Door) -> Route | None:
        service = door.service()
        if service is None:
            return None
        return Route(
            group=door.group,
            service=service,
            lifecycle=self._lifecycle,
            runtime=self._runtime,
            settings=self._settings,
        )

    def _context(self, domains: tuple[str, ...]) -> ssl.SSLContext:
        if domains not in self._contexts:
            hosts = [*domains, "localhost", LOOPBACK]
            self._contexts[domains] = self._authority.server_context(hosts, utc_now())
        return self._contexts[domains]
