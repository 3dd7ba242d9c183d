"""HTTP/1.1 between a client and the members of a service group, each request balanced anew.

Requests and answers pass as they come, whatever their length; only what concerns a single
connection (RFC 9110, 7.6.1) is dropped. A switch of protocols leaves a plain relay of bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

import attrs
import h11
import trio

from kraftlet_trio.simulators.cloud.gateway_raw import relay
from kraftlet_trio.simulators.cloud.gateway_route import Route, Unavailable
from kraftlet_trio.simulators.cloud.records import Instance

_HEAD_SECONDS = 120.0
_SEND_SECONDS = 60.0
_SWALLOW_SECONDS = 1.0
_CHUNK_BYTES = 64 * 1024
_MOST_PIPELINED_BYTES = 64 * 1024
_CONNECTION_HEADERS = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"}
)

Headers = list[tuple[bytes, bytes]]
_Message = h11.Request | h11.Response | h11.InformationalResponse


@attrs.define
class _Peer:
    """h11's state machine joined to a stream."""

    http: h11.Connection
    stream: trio.abc.Stream
    count: Callable[[int], None] = attrs.field(default=lambda _: None)
    """Told how many bytes were read."""

    async def receive(self) -> bytes:
        data = bytes(await self.stream.receive_some(_CHUNK_BYTES))
        self.count(len(data))
        self.http.receive_data(data)
        return data

    async def next_event(self) -> h11.Event | type[h11.PAUSED]:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            await self.receive()
        return event  # type: ignore[return-value] # h11 types its sentinels loosely

    async def send(self, *events: h11.Event) -> int:
        """How many bytes it took."""
        data = b"".join(self.http.send(event) or b"" for event in events)
        with trio.fail_after(_SEND_SECONDS):
            await self.stream.send_all(data)
        return len(data)


async def serve_http(client: trio.abc.Stream, route: Callable[[], Route | None]) -> None:
    """Serve the requests of one connection; *route* tells for each where it leads now.

    Raises:
        trio.BrokenResourceError, trio.TooSlowError, h11.ProtocolError: the client went wrong.
    """
    peer = _Peer(h11.Connection(h11.SERVER), client)
    while True:
        with trio.fail_after(_HEAD_SECONDS):
            request = await peer.next_event()
        if not isinstance(request, h11.Request):
            return
        present = route()
        if present is None:
            return
        if "redirect" in present.service.handlers:
            await _redirect(peer, request)
        else:
            await _exchange(peer, request, present)
        if not peer.http.our_state is peer.http.their_state is h11.DONE:
            return
        peer.http.start_next_cycle()


async def _exchange(client: _Peer, request: h11.Request, route: Route) -> None:
    try:
        instance = await route.member()
        with route.counted(instance):
            async with await route.connect(instance) as stream:
                guest = _Peer(h11.Connection(h11.CLIENT), stream, instance.traffic.sent)
                await _pass_on(client, guest, request, route, instance)
    except Unavailable as error:
        await _page(client, HTTPStatus.SERVICE_UNAVAILABLE, str(error))
    except OSError:
        await _page(client, HTTPStatus.BAD_GATEWAY, "the instance does not listen on that port")
    except _GuestFailed:
        if client.http.our_state is not h11.SEND_RESPONSE:
            raise trio.BrokenResourceError("the answer was cut short") from None
        await _page(client, HTTPStatus.BAD_GATEWAY, "the instance did not answer")


class _GuestFailed(Exception):
    """The guest ended its connection too early, or does not speak HTTP."""


async def _pass_on(
    client: _Peer, guest: _Peer, request: h11.Request, route: Route, instance: Instance
) -> None:
    headers = _passing(request, switching=_wants_switch(request))
    if not any(name.lower() == b"host" for name, _ in headers):
        headers.append((b"host", route.group.domains[0].encode()))
    head = h11.Request(method=request.method, target=request.target, headers=headers)
    switched = False
    try:
        instance.traffic.received(await guest.send(head))
        async with trio.open_nursery() as nursery:

            async def pass_request() -> None:
                await _pass_request(client, guest, instance)
                nursery.cancel_scope.cancel()  # it returns only when the client has left

            nursery.start_soon(pass_request)
            switched = await _pass_answer(client, guest)
            nursery.cancel_scope.cancel()
    except* (
        h11.ProtocolError,
        trio.BrokenResourceError,
        trio.ClosedResourceError,
        trio.TooSlowError,
        _GuestFailed,
    ) as group:
        raise _GuestFailed from group
    if switched:
        await _relay_switched(client, guest, route, instance)


async def _pass_request(client: _Peer, guest: _Peer, instance: Instance) -> None:
    """Pass the body on, then see whether the client leaves; returns only once it has."""
    while True:
        event = await client.next_event()
        match event:
            case h11.Data(data=data):
                instance.traffic.received(await guest.send(h11.Data(data=bytes(data))))
            case h11.EndOfMessage():
                instance.traffic.received(await guest.send(h11.EndOfMessage(headers=event.headers)))
                break
            case h11.ConnectionClosed():
                return
            case _:  # paused: it wants to switch protocols
                await trio.sleep_forever()
    pipelined = 0
    while pipelined <= _MOST_PIPELINED_BYTES:
        data = await client.receive()
        if not data:
            return
        pipelined += len(data)
    await trio.sleep_forever()


async def _pass_answer(client: _Peer, guest: _Peer) -> bool:
    """To its end; whether it was the switch to another protocol."""
    while True:
        event = await guest.next_event()
        match event:
            case h11.InformationalResponse(status_code=status) | h11.Response(status_code=status):
                headers = _passing(event, switching=status == _SWITCHING)
                await client.send(
                    type(event)(status_code=status, headers=headers, reason=event.reason)
                )
                if status == _SWITCHING:
                    return True
            case h11.Data(data=data):
                await client.send(h11.Data(data=bytes(data)))
            case h11.EndOfMessage():
                await client.send(h11.EndOfMessage(headers=event.headers))
                return False
            case _:
                raise _GuestFailed


async def _relay_switched(client: _Peer, guest: _Peer, route: Route, instance: Instance) -> None:
    """Begins with what either side sent right behind its part of the switch."""
    with suppress(trio.BrokenResourceError):
        for source, target in ((client, guest), (guest, client)):
            early, _ = source.http.trailing_data
            if early:
                await target.stream.send_all(early)
        await relay(client.stream, guest.stream, route, instance)


_SWITCHING = HTTPStatus.SWITCHING_PROTOCOLS


def _wants_switch(request: h11.Request) -> bool:
    return any(name == b"upgrade" for name, _ in request.headers)


def _passing(message: _Message, *, switching: bool) -> Headers:
    """As they are spelled, without those about one connection; framing stays, for h11 to go by."""
    return [
        (name, value)
        for name, value in message.headers.raw_items()
        if switching or name.lower() not in _CONNECTION_HEADERS
    ]


async def _redirect(client: _Peer, request: h11.Request) -> None:
    """To the same place on port 443 (reference, the redirect handler; the status is assumed)."""
    host = next((value for name, value in request.headers if name == b"host"), b"").decode()
    location = f"https://{host.partition(':')[0]}{request.target.decode()}"
    await _page(client, HTTPStatus.MOVED_PERMANENTLY, "moved", ("location", location))


async def _page(client: _Peer, status: HTTPStatus, message: str, *headers: tuple[str, str]) -> None:
    """Answer as the platform's proxy does: with a page for people."""
    body = (
        f"<html><head><title>{status} {status.phrase}</title></head>"
        f"<body><h1>{status.phrase}</h1><p>{message}</p></body></html>\n"
    ).encode()
    head = h11.Response(
        status_code=status,
        reason=status.phrase,
        headers=[("content-type", "text/html"), ("content-length", str(len(body))), *headers],
    )
    await client.send(head, h11.Data(data=body), h11.EndOfMessage())
    if client.http.their_state is h11.DONE:
        return
    # Closing with input unread would reset the connection, perhaps before the page is read.
    with trio.move_on_after(_SWALLOW_SECONDS):
        while not isinstance(await client.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
            pass
