"""Reading the states of single instances, many at a time."""

import pytest
import trio

from kraftlet_trio.cloud.errors import CloudUnavailable
from kraftlet_trio.cloud.instance_states import InstanceStates
from kraftlet_trio.http.messages import Response
from tests.unit.cloud.platform import Recorder, in_memory, success

RUNNING = ("a", "b")


def platform():
    def answer(request):
        asked = [value for name, value in request.query if name == "uuid"]
        items = [{"uuid": uuid, "state": "running"} for uuid in asked if uuid in RUNNING]
        return success("instances", *items)

    return Recorder(script=answer)


async def ask(states, uuids):
    """The answers, by UUID, to questions asked at once."""
    answers = {}

    async def one(uuid):
        answers[uuid] = await states.read(uuid)

    async with trio.open_nursery() as nursery:
        for uuid in uuids:
            nursery.start_soon(one, uuid)
    return answers


async def test_questions_share_a_request(autojump_clock, nursery):
    cloud = platform()
    async with in_memory(cloud) as client:
        states = InstanceStates(client)
        nursery.start_soon(states.run)
        assert await ask(states, ["a", "b", "gone"]) == {"a": "running", "b": "running", "gone": ""}
        assert len(cloud.requests) == 1
        assert await states.read("a") == "running"
        assert len(cloud.requests) == 2
        nursery.cancel_scope.cancel()


async def test_failure_reaches_all_who_asked_and_is_not_kept(autojump_clock, nursery):
    cloud = Recorder(*[Response(status=503)] * 4, success("instances"))
    async with in_memory(cloud) as client:
        states = InstanceStates(client)
        nursery.start_soon(states.run)
        with pytest.raises(ExceptionGroup) as caught:
            await ask(states, ["a", "b"])
        assert caught.group_contains(CloudUnavailable)
        assert await states.read("a") == ""
        nursery.cancel_scope.cancel()


async def test_who_gives_up_disturbs_nobody(autojump_clock, nursery):
    async with in_memory(platform()) as client:
        states = InstanceStates(client)
        nursery.start_soon(states.run)
        with trio.move_on_after(0.01):
            await states.read("a")
        assert await states.read("a") == "running"
        nursery.cancel_scope.cancel()
