"""Requests that a node answers, passed on to its port: logs, commands and ports of Pods, ``proxy``.

As from a real API server the answer streams, and a connection may be upgraded. The node's own
certificate is not verified, as by a real one that was not told to.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from urllib.parse import quote, unquote, urlencode

import attrs
import h11
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.http.messages import Request, Response, SendBytes
from kraftlet_trio.simulators.kubernetes.errors import ApiError, bad_request
from kraftlet_trio.simulators.kubernetes.identities import Identities
from kraftlet_trio.simulators.kubernetes.registry import Registry
from kraftlet_trio.simulators.kubernetes.resources import NODES, PODS, Json

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0

_SUBRESOURCES = {
    "log": "containerLogs",
    "exec": "exec",
    "attach": "attach",
    "portforward": "portForward",
}
_STREAMS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
_OWN_HEADERS = ("host", "authorization", "content-length", "transfer-encoding")
_SELF = {"metadata": {"namespace": "kube-system", "name": "kube-apiserver", "uid": ""}}
_REASONS = {400: "BadRequest", 404: "NotFound", 500: "InternalError"}

Relayed = Callable[[Request], Awaitable[Response]]


def find_relayed(registry: Registry, identities: Identities, path: str) -> Relayed | None:
    """What passes a request with that *path* on; None where it is answered here.

    What it returns raises ``ApiError``.
    """
    match path.removeprefix("/").split("/"):
        case ["api", "v1", "nodes", node, "proxy", *rest]:
            return partial(_proxied, registry, identities, unquote(node), "/" + "/".join(rest))
        case ["api", "v1", "namespaces", namespace, "pods", pod, part] if part in _SUBRESOURCES:
            return partial(_of_pod, registry, identities, unquote(namespace), unquote(pod), part)
        case _:
            return None


async def _proxied(
    registry: Registry, identities: Identities, node: str, path: str, request: Request
) -> Response:
    return await _passed_on(registry, identities, node, path, request.query_string, request)


async def _of_pod(
    registry: Registry,
    identities: Identities,
    namespace: str,
    name: str,
    part: str,
    request: Request,
) -> Response:
    pod = registry.get(PODS, namespace, name).value
    node = pod["spec"].get("nodeName", "")
    if not node:
        raise bad_request(f"pod {name} does not have a host assigned")
    words, query = [namespace, name], request.query
    if part == "portforward":
        query = [("port", value) for key, value in query if key == "ports"]
    else:
        words.append(_container(pod, dict(query).get("container", "")))
        query = [(key, value) for key, value in query if key != "container"]
    if part in ("exec", "attach"):
        query = [
            (_STREAMS.get(key, key), "1" if key in _STREAMS else value)
            for key, value in query
            if key == "command" or (key in _STREAMS and value in ("true", "1"))
        ]
    path = "/".join(["", _SUBRESOURCES[part], *(quote(word, safe="") for word in words)])
    return await _passed_on(registry, identities, node, path, urlencode(query), request)


def _container(pod: Json, asked: str) -> str:
    """Raises ``ApiError`` (400)."""
    spec = pod["spec"]
    kinds = ("initContainers", "containers", "ephemeralContainers")
    names = [one["name"] for kind in kinds for one in spec.get(kind, ())]
    if asked and asked not in names:
        raise bad_request(f"container {asked} is not valid for pod {pod['metadata']['name']}")
    if not asked and len(spec["containers"]) > 1:
        several = " ".join(one["name"] for one in spec["containers"])
        raise bad_request(
            f"a container name must be specified for pod {pod['metadata']['name']}, "
            f"choose one of: [{several}]"
        )
    return asked or spec["containers"][0]["name"]


async def _passed_on(
    registry: Registry,
    identities: Identities,
    node_name: str,
    path: str,
    query: str,
    request: Request,
) -> Response:
    host, port = _place(registry.get(NODES, "", node_name).value)
    token = identities.administrator_token or identities.issue(_SELF, (), 3600, utc_now())
    headers = {
        **{name: value for name, value in request.headers.items() if name not in _OWN_HEADERS},
        "host": f"{host}:{port}",
        "authorization": f"Bearer {token}",
        "content-length": str(len(request.body)),
    }
    connection = _Connection(await _connected(host, port))
    try:
        with trio.fail_after(ANSWER_SECONDS):
            answer = await connection.ask(
                h11.Request(
                    method=request.method,
                    target=path + (f"?{query}" if query else ""),
                    headers=list(headers.items()),
                ),
                request.body,
            )
        return await connection.response(answer)
    except (h11.RemoteProtocolError, trio.BrokenResourceError, trio.TooSlowError) as error:
        await connection.aclose()
        raise _unreachable(node_name, str(error)) from error
    except BaseException:
        await connection.aclose()
        raise


def _place(node: Json) -> tuple[str, int]:
    status = node.get("status", {})
    addresses = [
        one["address"] for one in status.get("addresses", ()) if one["type"] == "InternalIP"
    ]
    port = status.get("daemonEndpoints", {}).get("kubeletEndpoint", {}).get("Port", 0)
    if not addresses or not port:
        raise _unreachable(node["metadata"]["name"], "it has no address or port")
    return addresses[0], port


def _unreachable(node: str, why: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", f"node {node} does not answer: {why}")


async def _connected(host: str, port: int) -> trio.SSLStream[trio.SocketStream]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with trio.fail_after(CONNECT_SECONDS):
            stream = await trio.open_tcp_stream(host, port)
    except (OSError, trio.TooSlowError) as error:
        raise ApiError(
            500, "InternalError", f"dial tcp {host}:{port}: {error or 'i/o timeout'}"
        ) from error
    return trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)


@attrs.define(eq=False)
class _Connection:
    """One request to a node, over a connection of its own."""

    _stream: trio.SSLStream[trio.SocketStream]
    _http: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.CLIENT), init=False)

    async def ask(self, head: h11.Request, body: bytes) -> h11.Event:
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            await self._stream.send_all(self._http.send(event) or b"")
        return await self._next()

    async def response(self, answer: h11.Event) -> Response:
        """Takes the connection over, but where it raises ``ApiError``."""
        assert isinstance(answer, h11.InformationalResponse | h11.Response)
        headers = {name.decode(): value.decode("latin-1") for name, value in answer.headers}
        if answer.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            return Response(status=101, headers=headers, upgrade=self._joined)
        kind = headers.get("content-type", "text/plain")
        if answer.status_code < 400:
            return Response(
                status=answer.status_code, headers={"content-type": kind}, stream=self._copied
            )
        words = bytearray()
        await self._copied(partial(_collect, words))
        raise ApiError(
            answer.status_code,
            _REASONS.get(answer.status_code, ""),
            words.decode(errors="replace"),
        )

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)

    async def _copied(self, send: SendBytes) -> None:
        try:
            while isinstance(event := await self._next(), h11.Data):
                await send(bytes(event.data))
        finally:
            await self.aclose()

    async def _joined(self, client: trio.abc.Stream) -> None:
        early, _ = self._http.trailing_data
        try:
            await client.send_all(early)
            async with trio.open_nursery() as nursery:
                for source, sink in ((client, self._stream), (self._stream, client)):
                    nursery.start_soon(_pump, source, sink, nursery.cancel_scope)
        finally:
            await self.aclose()

    async def _next(self) -> h11.Event:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some()))
        return event  # type: ignore[return-value] # h11 types its sentinels loosely


async def _collect(words: bytearray, data: bytes) -> None:
    words += data
    await trio.lowlevel.checkpoint()


async def _pump(
    source: trio.abc.ReceiveStream, sink: trio.abc.SendStream, both: trio.CancelScope
) -> None:
    """Where one side ends, the other does, too: neither protocol closes only half."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await source.receive_some():
            await sink.send_all(data)
    both.cancel()
