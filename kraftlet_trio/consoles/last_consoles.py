"""What instances wrote before they were deleted, while their Pods are still there to be asked.

The platform keeps a console only as long as its instance. A Pod that has succeeded gives its
instances back to the account's quota, so the end of each console is kept here, bounded by
container and in all; the oldest go first. A restart of the daemon loses them.
"""

from __future__ import annotations

from collections import OrderedDict

import attrs

from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.console import ConsolePage
from kraftlet_trio.cloud.errors import ResourceNotFound
from kraftlet_trio.cloud.objects import STOPPED
from kraftlet_trio.kubernetes.pod import PodUID
from kraftlet_trio.mapping.console_runs import RunOffsets

MOST_BYTES_A_CONTAINER = 256 * 1024
MOST_BYTES = 64 * 1024 * 1024


@attrs.frozen
class LastConsole:
    """The end of an instance's console."""

    data: bytes
    start: int
    """Offset of its first byte among all that the instance ever wrote."""
    runs: RunOffsets = attrs.field(factory=RunOffsets)

    def page(self, offset: int, limit: int) -> ConsolePage:
        """As the platform would answer."""
        end = self.start + len(self.data)
        begin = min(max(offset, self.start), end)
        at = begin - self.start
        return ConsolePage(
            data=self.data[at : at + limit],
            start=begin,
            available_start=self.start,
            available_end=end,
            state=STOPPED,
        )


@attrs.define(eq=False)
class LastConsoles:
    _consoles: OrderedDict[tuple[PodUID, str], LastConsole] = attrs.field(
        factory=OrderedDict, init=False
    )
    """By Pod and instance (uuid)."""
    _pods: dict[str, PodUID] = attrs.field(factory=dict, init=False)
    """By instance (uuid)."""
    _bytes: int = attrs.field(default=0, init=False)

    def of(self, uuid: str) -> LastConsole | None:
        """Of the instance that had that *uuid*."""
        pod = self._pods.get(uuid)
        return None if pod is None else self._consoles[pod, uuid]

    async def keep(self, cloud: CloudClient, pod: PodUID, uuid: str, runs: RunOffsets) -> None:
        """Read the end of the instance's console. Raises ``CloudError``."""
        try:
            console = await read_end(cloud, uuid, MOST_BYTES_A_CONTAINER)
        except ResourceNotFound:
            return
        self._remove((pod, uuid))
        self._consoles[pod, uuid] = attrs.evolve(console, runs=runs)
        self._pods[uuid] = pod
        self._bytes += len(console.data)
        while self._bytes > MOST_BYTES:
            self._remove(next(iter(self._consoles)))

    def forget(self, pod: PodUID) -> None:
        """The Pod is gone: nobody can ask for its logs any more."""
        for key in [key for key in self._consoles if key[0] == pod]:
            self._remove(key)

    def _remove(self, key: tuple[PodUID, str]) -> None:
        removed = self._consoles.pop(key, None)
        if removed is not None:
            del self._pods[key[1]]
            self._bytes -= len(removed.data)


async def read_end(cloud: CloudClient, uuid: str, most_bytes: int) -> LastConsole:
    """At most the last *most_bytes* of an instance's console. Raises ``CloudError``."""
    page = await cloud.read_console(uuid, offset=0, limit=0)
    end = page.available_end
    start = max(page.available_start, end - most_bytes)
    data = b""
    while start + len(data) < end:
        page = await cloud.read_console(uuid, offset=start + len(data))
        if not page.data:
            break
        data += page.data
    return LastConsole(data[:most_bytes], start)
