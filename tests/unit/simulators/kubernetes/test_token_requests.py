"""Tokens for Pods: bound to one that is there, and as long as an API server gives them."""

from datetime import datetime

import pytest

from kraftlet_trio.clock import utc_now
from kraftlet_trio.mapping.tokens import renewal_of_token
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator
from tests.unit.simulators.kubernetes.builders import a_pod, request

PATH = "/api/v1/namespaces/default/serviceaccounts/default/token"


@pytest.fixture
async def cluster():
    return KubernetesSimulator()


@pytest.fixture
async def pod(cluster):
    return cluster.create(a_pod())


async def ask(cluster, *, path=PATH, **spec):
    return await request(cluster, "POST", path, {"kind": "TokenRequest", "spec": spec})


def bound_to(pod, **fields):
    metadata = pod["metadata"]
    return {"kind": "Pod", "name": metadata["name"], "uid": metadata["uid"], **fields}


@pytest.mark.parametrize(("seconds", "lasts"), [(3600, 3600), (3607, 365 * 24 * 3600)])
async def test_automatic_tokens_last_a_year_and_others_as_asked(
    autojump_clock, cluster, pod, seconds, lasts
):
    code, answer = await ask(cluster, expirationSeconds=seconds, boundObjectRef=bound_to(pod))
    assert code == 201
    renewal = renewal_of_token(answer["status"]["token"])
    assert (renewal - utc_now()).total_seconds() == pytest.approx(0.8 * lasts, abs=2)
    expires = datetime.fromisoformat(answer["status"]["expirationTimestamp"])
    assert (expires - utc_now()).total_seconds() == pytest.approx(seconds, abs=2)


async def test_automatic_life_is_for_the_api_servers_audience_only(autojump_clock, cluster, pod):
    _, answer = await ask(
        cluster, audiences=["vault"], expirationSeconds=3607, boundObjectRef=bound_to(pod)
    )
    renewal = renewal_of_token(answer["status"]["token"])
    assert (renewal - utc_now()).total_seconds() < 3600


async def test_what_an_api_server_refuses_is_refused(autojump_clock, cluster, pod):
    cluster.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}})
    for_robot = PATH.replace("/default/token", "/robot/token")
    assert (await ask(cluster, expirationSeconds=599))[0] == 422
    assert (await ask(cluster, boundObjectRef=bound_to(pod, name="gone")))[0] == 404
    assert (await ask(cluster, boundObjectRef=bound_to(pod, uid="other")))[0] == 409
    assert (await ask(cluster, boundObjectRef=bound_to(pod, kind="Job")))[0] == 400
    assert (await ask(cluster, path=for_robot, boundObjectRef=bound_to(pod)))[0] == 400
    assert (await ask(cluster, path=for_robot))[0] == 201
