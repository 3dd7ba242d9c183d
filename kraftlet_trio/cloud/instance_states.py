"""States of single instances as the platform says right now, many asked for in one request."""

from __future__ import annotations

from typing import Never

import attrs
import trio

from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.errors import CloudError, CloudUnavailable
from kraftlet_trio.doorbell import Doorbell

GATHER_SECONDS = 0.05
"""How long a question waits for others to share its request."""


class InstanceStates:
    """Answers while :meth:`run` is running."""

    def __init__(self, cloud: CloudClient) -> None:
        self._cloud = cloud
        self._asked: dict[str, _Question] = {}
        self._bell = Doorbell()

    async def read(self, uuid: str) -> str:
        """Not older than the question; empty where there is no such instance.

        Raises ``CloudUnavailable``.
        """
        question = self._asked.setdefault(uuid, _Question())
        self._bell.ring()
        await question.answered.wait()
        if question.error is not None:
            raise CloudUnavailable(str(question.error)) from question.error
        return question.state

    async def run(self) -> Never:
        """Ask for all at once; what is asked meanwhile is asked for together next."""
        while True:
            await self._bell.wait()
            await trio.sleep(GATHER_SECONDS)
            asked, self._asked = self._asked, {}
            await self._answer(asked)

    async def _answer(self, asked: dict[str, _Question]) -> None:
        try:
            instances = await self._cloud.get_instances(uuids=list(asked))
        except CloudError as error:
            for question in asked.values():
                question.error = error
        else:
            states = {instance.uuid: instance.state for instance in instances}
            for uuid, question in asked.items():
                question.state = states.get(uuid, "")
        for question in asked.values():
            question.answered.set()


@attrs.define(eq=False)
class _Question:
    answered: trio.Event = attrs.field(factory=trio.Event)
    state: str = ""
    error: CloudError | None = None
