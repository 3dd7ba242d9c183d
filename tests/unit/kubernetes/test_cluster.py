import pytest
import trio

from kraftlet_trio.http.messages import json_response
from kraftlet_trio.kubernetes.cluster import cluster_uid
from kraftlet_trio.kubernetes.errors import Forbidden
from tests.unit.kubernetes.scripted import UNREACHABLE, ScriptedApi, status

SYSTEM = json_response(
    {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "kube-system", "uid": "c-1"}}
)


async def test_a_cluster_is_known_by_its_system_namespace(client_of):
    api = ScriptedApi([SYSTEM])
    assert await cluster_uid(client_of(api)) == "c-1"
    assert [request.path for request in api.requests] == ["/api/v1/namespaces/kube-system"]


async def test_an_api_server_that_is_not_there_yet_is_waited_for(client_of, autojump_clock):
    answers = [UNREACHABLE, status(503), status(404, "NotFound"), status(401), SYSTEM]
    assert await cluster_uid(client_of(ScriptedApi(answers))) == "c-1"
    # The least that the waits can come to, unstretched: two of the client, two longer ones.
    assert 2.25 <= trio.current_time() < 60


async def test_a_missing_right_is_told_at_once(client_of, autojump_clock):
    with pytest.raises(Forbidden, match="kube-system"):
        await cluster_uid(client_of(ScriptedApi([status(403, "Forbidden")])))
    assert trio.current_time() == 0
