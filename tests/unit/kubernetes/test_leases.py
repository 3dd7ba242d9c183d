from datetime import UTC, datetime

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.http.messages import ConnectionDropped, json_response
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import ClusterAccess
from kraftlet_trio.kubernetes.leases import renew_node_lease_forever, run_while_leader
from tests.unit.kubernetes.scripted import status


class LeaseServer:
    """Leases with optimistic locking, nothing else; ``trouble`` decides each request's fate."""

    def __init__(self):
        self.leases: dict[str, dict] = {}
        self.version = 0
        self.requests: list[tuple[float, str]] = []
        self.trouble = lambda _request: "none"

    async def __call__(self, request):
        self.requests.append((trio.current_time(), request.method))
        fate = self.trouble(request)
        if fate == "refused":
            return status(503)
        if fate == "unheard":
            raise ConnectionDropped
        if isinstance(fate, float):
            await trio.sleep(fate)
        answer = self.answer(request)
        if fate == "answer lost":
            raise ConnectionDropped
        return answer

    def answer(self, request):
        name = request.path.rpartition("/")[2]
        match request.method:
            case "GET" if name in self.leases:
                return json_response(self.leases[name])
            case "POST":
                name = request.json()["metadata"]["name"]
                if name in self.leases:
                    return status(409, "AlreadyExists")
                return self.store(name, request.json(), 201)
            case "PUT" if name in self.leases:
                sent = request.json()["metadata"].get("resourceVersion")
                if sent != self.leases[name]["metadata"]["resourceVersion"]:
                    return status(409, "Conflict")
                return self.store(name, request.json(), 200)
        return status(404, "NotFound")

    def store(self, name, lease, code):
        self.version += 1
        metadata = {**lease["metadata"], "uid": "u", "resourceVersion": str(self.version)}
        self.leases[name] = {**lease, "metadata": metadata}
        return json_response(self.leases[name], code)

    def count(self, method):
        return sum(1 for _, used in self.requests if used == method)


class Candidate:
    """A process that wants to lead; each has a client of its own."""

    def __init__(self, identity, server, nursery):
        self.identity = identity
        transport = MemoryTransport(server, nursery)
        self.client = KubernetesClient(
            ClusterAccess(server="http://cluster.test"), transport=transport
        )
        self.leading = False
        self.terms = 0
        self.scope = trio.CancelScope()
        self.gone = trio.Event()

    async def run(self):
        with self.scope:
            await run_while_leader(
                self.client, namespace="default", name="l", identity=self.identity, lead=self.lead
            )
        self.gone.set()

    async def lead(self):
        self.leading = True
        self.terms += 1
        try:
            await trio.sleep_forever()
        finally:
            self.leading = False


@pytest.fixture
def server():
    return LeaseServer()


@pytest.fixture
def candidate(server, nursery):
    def candidate(identity):
        one = Candidate(identity, server, nursery)
        nursery.start_soon(one.run)
        return one

    return candidate


async def test_first_candidate_leads_and_renews(server, candidate, autojump_clock):
    one = candidate("one")
    await trio.sleep(61)
    assert one.leading
    assert one.terms == 1
    assert server.count("POST") == 1
    assert 11 <= server.count("PUT") <= 13
    lease = server.leases["l"]["spec"]
    assert lease["holderIdentity"] == "one"
    assert lease["leaseDurationSeconds"] == 15
    renewed = datetime.strptime(lease["renewTime"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    acquired = datetime.strptime(lease["acquireTime"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert 55 <= (renewed - acquired).total_seconds() <= 61


async def test_second_candidate_waits_as_long_as_the_first_renews(candidate, autojump_clock):
    one = candidate("one")
    await trio.sleep(1)
    two = candidate("two")
    await trio.sleep(300)
    assert one.leading
    assert not two.leading


async def test_leaving_leader_lets_its_successor_in_at_once(server, candidate, autojump_clock):
    one = candidate("one")
    await trio.sleep(1)
    two = candidate("two")
    await trio.sleep(20)
    one.scope.cancel()
    await trio.sleep(5)
    assert two.leading
    assert server.leases["l"]["spec"]["leaseTransitions"] == 1


async def test_dead_leader_is_followed_only_after_its_lease(server, candidate, autojump_clock):
    server.store(
        "l",
        {
            "metadata": {"name": "l"},
            # Long past by the holder's clock, which is nobody else's business.
            "spec": {
                "holderIdentity": "dead",
                "leaseDurationSeconds": 15,
                "renewTime": "2001-01-01T00:00:00.000000Z",
            },
        },
        201,
    )
    one = candidate("one")
    await trio.sleep(14.9)
    assert not one.leading
    await trio.sleep(6)
    assert one.leading


async def test_leader_that_cannot_renew_stops_before_its_lease_lapses(
    server, candidate, autojump_clock
):
    one = candidate("one")
    await trio.sleep(1)
    server.trouble = lambda _request: "refused"
    renewed = server.requests[-1][0]
    await trio.sleep_until(renewed + 10.1)
    assert not one.leading
    server.trouble = lambda _request: "none"
    await trio.sleep(20)
    assert one.leading
    assert one.terms == 2


async def test_leader_whose_server_hangs_stops_too(server, candidate, autojump_clock):
    one = candidate("one")
    await trio.sleep(1)
    server.trouble = lambda _request: 1000.0
    await trio.sleep(9.5)
    assert not one.leading


async def test_short_outage_does_not_end_a_term(server, candidate, autojump_clock):
    one = candidate("one")
    await trio.sleep(4)
    server.trouble = lambda _request: "unheard"
    await trio.sleep(4)
    server.trouble = lambda _request: "none"
    await trio.sleep(60)
    assert one.leading
    assert one.terms == 1


async def test_usurped_leader_stops_at_its_next_renewal(server, candidate, autojump_clock):
    one = candidate("one")
    await trio.sleep(1)
    usurped = {**server.leases["l"]}
    usurped["spec"] = {**usurped["spec"], "holderIdentity": "usurper"}
    server.store("l", usurped, 200)
    await trio.sleep(5)
    assert not one.leading
    assert server.leases["l"]["spec"]["holderIdentity"] == "usurper"


async def test_lost_answer_of_the_own_renewal_is_not_a_loss(server, candidate, autojump_clock):
    one = candidate("one")
    fates = iter(["answer lost"] * 2)
    await trio.sleep(1)
    server.trouble = lambda request: next(fates, "none") if request.method == "PUT" else "none"
    await trio.sleep(60)
    assert one.leading
    assert one.terms == 1


async def test_what_lead_raises_passes_through_after_the_release(server, client_of, autojump_clock):
    async def lead():
        await trio.sleep(1)
        raise LookupError("bug")

    with pytest.raises(LookupError, match="bug"):
        await run_while_leader(
            client_of(server), namespace="default", name="l", identity="me", lead=lead
        )
    assert "holderIdentity" not in server.leases["l"]["spec"]


async def test_lead_that_returns_contends_again(server, client_of, autojump_clock):
    terms = []

    async def lead():
        terms.append(trio.current_time())

    with trio.move_on_after(30):
        await run_while_leader(
            client_of(server), namespace="default", name="l", identity="me", lead=lead
        )
    assert 3 <= len(terms) <= 16


async def test_release_is_bounded(server, candidate, autojump_clock):
    one = candidate("one")
    await trio.sleep(1)
    server.trouble = lambda _request: 1000.0
    begin = trio.current_time()
    one.scope.cancel()
    await one.gone.wait()
    assert not one.leading
    assert trio.current_time() - begin < 3


troubles = st.lists(
    st.tuples(
        st.floats(0, 30),
        st.floats(0, 30),
        st.sampled_from(["refused", "unheard", "answer lost", 0.5, 1.9, 3.0, 6.0]),
    ),
    max_size=4,
)
"""When a candidate's line to the server fails, for how long, and how."""


@given(
    lines=st.tuples(troubles, troubles, troubles),
    leaves_at=st.floats(0, 60),
    clean_up=st.floats(0, 4.9),
    seed=st.random_module(),
)
@settings(deadline=None, max_examples=30)
@example(lines=([(20.0, 30.0, "unheard")], [], []), leaves_at=60.0, clean_up=4.9, seed=None)
@example(lines=([(20.0, 30.0, "answer lost")], [], []), leaves_at=60.0, clean_up=4.9, seed=None)
def test_there_is_never_more_than_one_leader(lines, leaves_at, clean_up, seed):
    async def main():
        server, leaders = LeaseServer(), set()

        class Watched(Candidate):
            def __init__(self, identity, trouble, nursery):
                super().__init__(identity, self.talk, nursery)
                self.trouble = trouble

            async def talk(self, request):
                fates = [
                    fate
                    for begin, length, fate in self.trouble
                    if begin <= trio.current_time() <= begin + length
                ]
                server.trouble = lambda _request: fates[0] if fates else "none"
                return await server(request)

            async def lead(self):
                assert not leaders
                leaders.add(self.identity)
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.move_on_after(clean_up, shield=True):
                        await trio.sleep_forever()
                    leaders.remove(self.identity)

        async with trio.open_nursery() as nursery:
            names = ("one", "two", "three")
            for name, trouble in zip(names, lines, strict=True):
                one = Watched(name, trouble, nursery)
                nursery.start_soon(one.run)
                await trio.sleep(0.1)
            await trio.sleep(leaves_at)
            one.scope.cancel()
            await trio.sleep(60)
            assert leaders  # and there is one in the end
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def run_heartbeat(client, uid=lambda: "node-uid"):
    await renew_node_lease_forever(client, node_name="n", node_uid=uid)


async def test_node_lease_is_made_and_renewed_every_ten_seconds(
    server, client_of, nursery, autojump_clock
):
    nursery.start_soon(run_heartbeat, client_of(server))
    await trio.sleep(61)
    lease = server.leases["n"]
    assert lease["spec"]["holderIdentity"] == "n"
    assert lease["spec"]["leaseDurationSeconds"] == 40
    assert lease["metadata"]["namespace"] == "kube-node-lease"
    assert lease["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "node-uid"}
    ]
    assert (server.count("GET"), server.count("POST")) == (1, 1)
    assert server.count("PUT") in (5, 6)


async def test_node_lease_follows_a_node_made_anew(server, client_of, nursery, autojump_clock):
    uids = iter(["", "first"])
    nursery.start_soon(run_heartbeat, client_of(server), lambda: next(uids, "second"))
    await trio.sleep(1)
    assert "ownerReferences" not in server.leases["n"]["metadata"]
    await trio.sleep(30)
    assert [one["uid"] for one in server.leases["n"]["metadata"]["ownerReferences"]] == ["second"]


async def test_node_lease_is_read_again_after_a_conflict(
    server, client_of, nursery, autojump_clock
):
    nursery.start_soon(run_heartbeat, client_of(server))
    await trio.sleep(1)
    server.store("n", server.leases["n"], 200)
    written = server.version
    await trio.sleep(10.5)
    assert server.version == written + 1
    assert server.count("GET") == 2


async def test_deleted_node_lease_is_made_again(server, client_of, nursery, autojump_clock):
    nursery.start_soon(run_heartbeat, client_of(server))
    await trio.sleep(1)
    del server.leases["n"]
    await trio.sleep(10.5)
    assert "n" in server.leases


async def test_heartbeat_resumes_soon_after_an_outage(server, client_of, nursery, autojump_clock):
    server.trouble = lambda _request: 1000.0
    nursery.start_soon(run_heartbeat, client_of(server))
    await trio.sleep(100)
    server.trouble = lambda _request: "none"
    await trio.sleep(20)
    assert "n" in server.leases
