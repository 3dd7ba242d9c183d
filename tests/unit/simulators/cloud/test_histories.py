"""Whatever is asked of instances in whatever order, they end up where the last word puts them."""

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.http.messages import Request
from kraftlet_trio.simulators.cloud.images import ImageCatalogue
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator

IMAGES = """
images:
  app: {}
  job: {run_seconds: 1, exit_code: 1}
  quick: {run_seconds: 0, boot_seconds: 0}
  slow: {boot_seconds: 7}
  stubborn: {ignores_stop: true}
  unpullable: {pull: fail}
"""
NAMES = st.sampled_from(["a", "b"])
ACTIONS = st.one_of(
    st.tuples(
        st.just("create"),
        NAMES,
        st.sampled_from(["app", "job", "quick", "slow", "stubborn", "unpullable"]),
        st.sampled_from(["never", "always", "on-failure"]),
    ),
    st.tuples(st.sampled_from(["start", "stop", "force", "suspend", "delete"]), NAMES),
    st.tuples(st.just("sleep"), st.sampled_from([0, 0.02, 0.05, 1, 5, 10])),
)


async def perform(simulator, action) -> None:
    async def send(method, path, body) -> None:
        headers = {"authorization": "Bearer t"}
        answer = await simulator.handle(
            Request(method=method, path=f"/v1/instances{path}", headers=headers, body=body)
        )
        assert answer.status == 200

    match action:
        case ("create", name, image, policy):
            body = f'{{"name":"{name}","image":"{image}","autostart":true,'
            body += f'"restart_policy":"{policy}"}}'
            await send("POST", "", body.encode())
        case ("force", name):
            await send("PUT", "/stop", f'[{{"name":"{name}","force":true}}]'.encode())
        case ("delete", name):
            await send("DELETE", "", f'[{{"name":"{name}"}}]'.encode())
        case ("sleep", seconds):
            await trio.sleep(seconds)
        case (verb, name):
            await send("PUT", f"/{verb}", f'[{{"name":"{name}"}}]'.encode())


@given(actions=st.lists(ACTIONS, max_size=15), random=st.random_module())
@settings(max_examples=200, deadline=None)
def test_states_agree_with_what_runs(actions, random):
    async def live() -> None:
        async with trio.open_nursery() as nursery:
            simulator = CloudSimulator(token="t", images=ImageCatalogue.parse(IMAGES))
            await nursery.start(simulator.run)
            for action in actions:
                await perform(simulator, action)
            for instance in simulator.account.instances:
                instance.restart_policy = "never"
            await trio.sleep(400)
            running = set(simulator.runtime._running)
            for instance in simulator.account.instances:
                assert instance.state in ("running", "stopped", "standby")
                assert (instance.state == "running") is (instance.uuid in running)
                assert (instance.booted_at is not None) is (instance.state == "running")
                if instance.state == "stopped":
                    assert instance.stop.reason
                assert instance.start_count >= instance.restart_count
            assert running <= {instance.uuid for instance in simulator.account.instances}
            nursery.cancel_scope.cancel()

    trio.run(live, clock=trio.testing.MockClock(autojump_threshold=0))
