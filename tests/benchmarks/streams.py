"""What followed logs and commands cost the others: how long a Pod takes to start beside them.

    make bench-streams

Everything is on one machine, as in ``tests.benchmarks.pods``; containers are processes of it, so
their share and the client's are in the figures too. Each log grows by a line every five seconds,
each command sends back a line that it is sent every second.
"""

from __future__ import annotations

import argparse
import ssl
import statistics
import tempfile
import time
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import trio
import yaml

from tests.benchmarks.pods import (
    LOOK_SECONDS,
    PODS,
    QUOTAS,
    Usage,
    a_pod,
    client,
    each,
    is_ready,
    timed,
)
from tests.e2e.bed import chart
from tests.e2e.bed.cloud import running_cloud
from tests.e2e.bed.control_plane import running_control_plane
from tests.e2e.bed.daemon import NODE, Daemon
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import eventually
from tests.websocket_client import WebSocketClient

TALKS = "i=0; while :; do i=$((i+1)); echo line $i; sleep 5; done"
STARTS = 15
SETTLE_SECONDS = 10.0


def a_talking_pod(name: str) -> dict[str, Any]:
    pod = a_pod(name)
    pod["spec"]["containers"][0] |= {"image": "busybox", "command": ["sh", "-c", TALKS]}
    return pod


def start_seconds(api: httpx.Client, prefix: str) -> list[float]:
    """From bound to Ready, one Pod at a time, each of which is deleted again."""
    spans = []
    for number in range(STARTS):
        name = f"{prefix}-{number}"
        began = time.monotonic()
        api.post(PODS, json=a_talking_pod(name)).raise_for_status()
        while not is_ready(api.get(f"{PODS}/{name}").json()):
            time.sleep(0.005)
        spans.append(time.monotonic() - began)
        api.delete(f"{PODS}/{name}").raise_for_status()
    return spans


def told(spans: list[float]) -> str:
    return (
        f"median {1000 * statistics.median(spans):.0f} ms, "
        f"worst {1000 * max(spans):.0f} ms of {len(spans)}"
    )


class Streams:
    """The clients, each with a connection of its own to the API server."""

    def __init__(self, server: str, trust: ssl.SSLContext) -> None:
        self._host, self._port = urlsplit(server).hostname or "", urlsplit(server).port or 443
        self._trust = trust
        self.lines = 0
        self.echoes: list[float] = []

    async def follow(self, pod: str) -> None:
        stream = await self._asked(f"{PODS}/{pod}/log?follow=true", {})
        while data := await stream.receive_some():
            self.lines += data.count(b"line ")

    async def talk(self, pod: str) -> None:
        """With ``cat``, once a second."""
        query = urlencode({"command": "cat", "stdin": 1, "stdout": 1, "container": "app"})
        stream = await self._asked(
            f"{PODS}/{pod}/exec?{query}",
            {
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": b64encode(bytes(16)).decode(),
                "Sec-WebSocket-Protocol": "v5.channel.k8s.io",
            },
        )
        session = WebSocketClient(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.run)
            sent = b""
            while True:
                sent += b"hello\n"
                began = trio.current_time()
                await session.send(b"\x00hello\n")
                await session.until(lambda: session.on(1) == sent)  # noqa: B023
                self.echoes.append(trio.current_time() - began)
                await trio.sleep(1)

    async def _asked(self, path: str, headers: dict[str, str]) -> trio.abc.Stream:
        stream = await trio.open_ssl_over_tcp_stream(
            self._host, self._port, ssl_context=self._trust, https_compatible=True
        )
        head = {"Host": f"{self._host}:{self._port}", **headers}
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
        await stream.send_all("\r\n".join((*lines, "", "")).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            piece = await stream.receive_some(1)
            assert piece, answer
            answer += piece
        assert answer.startswith((b"HTTP/1.1 101", b"HTTP/1.1 200")), answer
        return stream


async def measure(
    api: httpx.Client, streams: Streams, usage: Usage, logs: int, commands: int
) -> None:
    async def starts(prefix: str) -> list[float]:
        return await trio.to_thread.run_sync(start_seconds, api, prefix)

    await starts("warm")
    alone = await starts("alone")
    print(f"one Pod, bound → Ready, beside {logs} running: {told(alone)}")
    async with trio.open_nursery() as nursery:
        for number in range(logs):
            nursery.start_soon(streams.follow, f"pod-{number}")
        for number in range(commands):
            nursery.start_soon(streams.talk, f"pod-{number}")
        await trio.sleep(SETTLE_SECONDS)
        cpu, lines, streams.echoes = usage.cpu_seconds(), streams.lines, []
        await trio.sleep(SETTLE_SECONDS)
        used = (usage.cpu_seconds() - cpu) / SETTLE_SECONDS
        rate = (streams.lines - lines) / SETTLE_SECONDS
        print(f"{logs} logs followed, {commands} commands: {100 * used:.0f} % of a core")
        print(f"  {rate:.0f} lines a second came; an echo took {told(streams.echoes)}")
        beside = await starts("beside")
        print(f"one Pod, bound → Ready, beside all that: {told(beside)}")
        nursery.cancel_scope.cancel()
    rise = statistics.median(beside) / statistics.median(alone) - 1
    print(f"  {100 * rise:+.0f} %; {usage.memory_mib():.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=200, help="how many Pods, all followed")
    parser.add_argument("--commands", type=int, default=50)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_control_plane(Path(name)) as plane:
        kubectl = Kubectl(plane.admin_kubeconfig, home=plane.folder)
        eventually(lambda: kubectl.json("get", "serviceaccount", "default"))
        with running_cloud(Path(name), quotas=QUOTAS, processes=True) as cloud:
            daemon = Daemon(
                cloud.url,
                chart.install(kubectl, plane),
                Path(name),
                log_level="warning",
                options={"KRAFTLET_ENABLE_EXEC": "true"},
            )
            daemon.start()
            try:
                eventually(
                    lambda: is_ready(kubectl.json("get", "node", NODE) or {"status": {}}),
                    timeout=60,
                )
                with client(plane.admin_kubeconfig) as api:
                    names = [f"pod-{number}" for number in range(asked.logs)]
                    each(names, lambda name: api.post(PODS, json=a_talking_pod(name)))
                    timed(api, lambda pods: sum(map(is_ready, pods)) == asked.logs)
                    time.sleep(LOOK_SECONDS)
                    streams = Streams(*_server(plane.admin_kubeconfig))
                    usage = Usage(daemon.pid)
                    trio.run(measure, api, streams, usage, asked.logs, asked.commands)
            finally:
                daemon.stop()


def _server(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    access = yaml.safe_load(kubeconfig.read_text())
    cluster, user = access["clusters"][0]["cluster"], access["users"][0]["user"]
    trust = ssl.create_default_context(cafile=cluster["certificate-authority"])
    trust.load_cert_chain(user["client-certificate"], user["client-key"])
    return cluster["server"], trust


if __name__ == "__main__":
    main()
