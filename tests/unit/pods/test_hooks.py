"""Lifecycle hooks of containers, in a network and a sandbox in memory."""

from __future__ import annotations

import pytest
import trio

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.cloud.sandbox import SandboxMissing
from kraftlet_trio.http.messages import Response
from kraftlet_trio.http.server import serve_connection
from kraftlet_trio.kubernetes.pod import (
    ExecAction,
    HTTPGetAction,
    Lifecycle,
    LifecycleHandler,
    SleepAction,
    TCPSocketAction,
)
from kraftlet_trio.pods.hooks import HookDone, HookFailed, HookRunning, Hooks
from tests.builders import a_container, an_instance
from tests.probed import Guests

COMMAND = LifecycleHandler(exec=ExecAction(command=("sh", "-c", "true")))
SLEEP = LifecycleHandler(sleep=SleepAction(seconds=5))
CALL = LifecycleHandler(http_get=HTTPGetAction(path="/bye", port=8080))


class Hooked:
    """The hooks of one Pod, and what they told."""

    def __init__(self, nursery, **means):
        self.guests = Guests(nursery)
        self.events = []
        self.rings = 0
        self.hooks = Hooks(nursery, self.guests.means(**means), self.events.append, self._ring)

    def _ring(self):
        self.rings += 1

    def start(self, kind, handler, timeout_seconds=None, run="1", **instance):
        lifecycle = Lifecycle(
            post_start=handler if kind == "postStart" else None,
            pre_stop=handler if kind == "preStop" else None,
        )
        container = a_container(lifecycle=lifecycle)
        self.hooks.start(kind, run, container, an_instance(**instance), timeout_seconds)

    def state(self, kind="postStart", run="1"):
        return self.hooks.state(kind, run)


@pytest.fixture
def hooked(nursery):
    return Hooked(nursery)


async def test_hook_that_was_not_started_has_no_state(hooked):
    assert hooked.state() is None


@pytest.mark.parametrize("kind", ["postStart", "preStop"])
async def test_command_runs_once_in_each_run(autojump_clock, hooked, kind):
    hooked.start(kind, COMMAND)
    assert hooked.state(kind) == HookRunning()
    hooked.start(kind, COMMAND)
    await trio.sleep(1)
    assert hooked.state(kind) == HookDone()
    assert hooked.guests.commands == [("uuid-of-app", ("sh", "-c", "true"))]
    assert hooked.rings == 1
    hooked.start(kind, COMMAND, run="2")
    await trio.sleep(1)
    assert len(hooked.guests.commands) == 2


async def test_failure_is_kept_but_its_words_are_not_in_the_event(autojump_clock, hooked):
    hooked.guests.exit_code, hooked.guests.output = 2, b"secret"
    hooked.start("postStart", COMMAND)
    await trio.sleep(1)
    assert hooked.state() == HookFailed("command terminated with exit code 2: secret")
    [event] = hooked.events
    assert (event.reason, event.message) == ("FailedPostStartHook", "PostStartHook failed")
    assert (event.type, event.container) == ("Warning", "app")


async def test_failed_pre_stop_is_told_in_kubelets_words(autojump_clock, hooked):
    hooked.guests.sandbox_error = SandboxMissing("no plugin")
    hooked.start("preStop", COMMAND)
    await trio.sleep(1)
    assert hooked.state("preStop") == HookFailed("no plugin")
    assert [event.reason for event in hooked.events] == ["FailedPreStopHook"]
    assert hooked.events[0].message == "PreStopHook failed: no plugin"


async def test_pre_stop_that_outlasts_its_time_is_done(autojump_clock, hooked):
    hooked.start("preStop", LifecycleHandler(sleep=SleepAction(seconds=50)), timeout_seconds=30)
    await trio.sleep(29)
    assert hooked.state("preStop") == HookRunning()
    await trio.sleep(2)
    assert hooked.state("preStop") == HookDone()
    assert not hooked.events


async def test_sleep_sleeps(autojump_clock, hooked):
    hooked.start("preStop", SLEEP, timeout_seconds=30)
    await trio.sleep(4.9)
    assert hooked.state("preStop") == HookRunning()
    await trio.sleep(0.2)
    assert hooked.state("preStop") == HookDone()


async def test_call_reaches_the_container(autojump_clock, hooked):
    requests = []

    async def handle(request):
        requests.append(request)
        return Response(status=500)

    hooked.guests.listen(8080, lambda stream: serve_connection(handle, stream))
    hooked.start("preStop", CALL)
    await trio.sleep(1)
    assert hooked.state("preStop") == HookDone()
    assert requests[0].headers["user-agent"] == "kube-lifecycle/1.37"


async def test_call_that_nobody_takes_fails(autojump_clock, hooked):
    hooked.start("postStart", CALL)
    await trio.sleep(1)
    assert "connection refused" in hooked.state().message


async def test_call_fails_where_there_is_no_network(autojump_clock, nursery):
    hooked = Hooked(nursery, network=False)
    hooked.start("postStart", CALL)
    await trio.sleep(1)
    assert "KRAFTLET_PROBE_NETWORK" in hooked.state().message
    assert not hooked.guests.dialled


async def test_tcp_socket_always_fails(autojump_clock, hooked):
    hooked.guests.listen(8080)
    hooked.start("postStart", LifecycleHandler(tcp_socket=TCPSocketAction(port=8080)))
    await trio.sleep(1)
    assert isinstance(hooked.state(), HookFailed)


async def test_container_without_the_hook_is_done_with_it(hooked):
    hooked.start("preStop", None)
    assert hooked.state("preStop") == HookDone()


async def test_sleeper_is_not_woken_to_be_stopped(autojump_clock, hooked):
    hooked.start("preStop", COMMAND, state=cloud.STANDBY)
    assert hooked.state("preStop") == HookDone()
    await trio.sleep(10)
    assert not hooked.guests.commands


async def test_run_that_is_over_ends_its_hooks(nursery, autojump_clock, hooked):
    hooked.start("preStop", SLEEP)
    hooked.start("postStart", SLEEP, run="2")
    hooked.hooks.forget(["1"])
    await trio.testing.wait_all_tasks_blocked()
    assert hooked.state("preStop") is None
    assert hooked.state("postStart", "2") == HookRunning()
    await trio.sleep(10)
    assert hooked.rings == 1
    assert not nursery.child_tasks
