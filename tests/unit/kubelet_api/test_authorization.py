from __future__ import annotations

import pytest
import trio

from kraftlet_trio.kubelet_api.authorization import (
    ALLOWED_SECONDS,
    DENIED_SECONDS,
    Authorizer,
    Rights,
    needed_rights,
)
from kraftlet_trio.kubelet_api.review_cache import ReviewFailed
from kraftlet_trio.kubernetes.reviews import UserInfo
from tests.unit.kubelet_api.reviewing import NODE

ADA = UserInfo(username="ada", uid="7", groups=("us", "them"), extra={"scope": ("a", "b")})


@pytest.mark.parametrize(
    ("method", "path", "verb", "subresources"),
    [
        ("GET", "/stats/summary", "get", ("stats",)),
        ("POST", "/stats/summary", "create", ("stats",)),
        ("GET", "/metrics", "get", ("metrics",)),
        ("GET", "/metrics/resource", "get", ("metrics",)),
        ("GET", "/metricsother", "get", ("proxy",)),
        ("GET", "/logs/syslog", "get", ("log",)),
        ("GET", "/checkpoint/a/b/c", "get", ("checkpoint",)),
        ("GET", "/pods", "get", ("pods", "proxy")),
        ("GET", "/runningpods/", "get", ("pods", "proxy")),
        ("GET", "/healthz/ping", "get", ("healthz", "proxy")),
        ("GET", "/configz", "get", ("configz", "proxy")),
        ("GET", "/flagz", "get", ("configz",)),
        ("GET", "/containerLogs/ns/pod/c", "get", ("proxy",)),
        ("GET", "/", "get", ("proxy",)),
        ("PUT", "/x", "update", ("proxy",)),
        ("PATCH", "/x", "patch", ("proxy",)),
        ("DELETE", "/x", "delete", ("proxy",)),
        ("HEAD", "/x", "", ("proxy",)),
        # What is encoded is no path that is served.
        ("GET", "/metrics%2f..%2fpods", "get", ("proxy",)),
    ],
)
def test_rights_are_those_of_the_kubelets_table(method, path, verb, subresources):
    assert needed_rights(method, path) == Rights(verb, subresources)


@pytest.mark.parametrize("path", ["/exec/n/p/c", "/attach/n/p/c", "/run/n/p/c", "/portForward/n/p"])
def test_reaching_into_a_pod_is_no_reading_by_whatever_method(path):
    assert needed_rights("GET", path) == Rights("create", ("proxy",))


@pytest.fixture
def authorizer(kubernetes) -> Authorizer:
    return Authorizer(kubernetes, NODE)


async def test_the_api_server_is_told_all_about_the_user(autojump_clock, api, authorizer):
    await authorizer.allows(ADA, Rights("get", ("metrics",)))
    assert api.asked("subjectaccessreviews") == [
        {
            "user": "ada",
            "uid": "7",
            "groups": ["us", "them"],
            "extra": {"scope": ["a", "b"]},
            "resourceAttributes": {
                "verb": "get",
                "version": "v1",
                "resource": "nodes",
                "subresource": "metrics",
                "name": NODE,
            },
        }
    ]


@pytest.mark.parametrize("subresource", ["pods", "proxy"])
async def test_any_of_the_subresources_suffices(autojump_clock, api, authorizer, subresource):
    api.rights.add(("ada", "get", subresource))
    assert await authorizer.allows(ADA, needed_rights("GET", "/pods"))


async def test_a_right_is_for_one_user_one_verb_and_one_subresource(
    autojump_clock, api, authorizer
):
    api.rights.add(("ada", "get", "proxy"))
    proxy = Rights("get", ("proxy",))
    assert await authorizer.allows(ADA, proxy)
    assert not await authorizer.allows(UserInfo(username="eve"), proxy)
    assert not await authorizer.allows(ADA, Rights("create", ("proxy",)))
    assert not await authorizer.allows(ADA, Rights("get", ("stats",)))


async def test_the_same_name_in_other_groups_is_another_user(autojump_clock, api, authorizer):
    rights = Rights("get", ("proxy",))
    await authorizer.allows(ADA, rights)
    await authorizer.allows(UserInfo(username="ada"), rights)
    assert len(api.asked("subjectaccessreviews")) == 2


@pytest.mark.parametrize(("allowed", "seconds"), [(True, ALLOWED_SECONDS), (False, DENIED_SECONDS)])
async def test_rights_are_looked_at_again_after_a_while(
    autojump_clock, api, authorizer, allowed, seconds
):
    if allowed:
        api.rights.add(("ada", "get", "stats"))
    rights = Rights("get", ("stats",))
    for _ in range(2):
        await authorizer.allows(ADA, rights)
        await trio.sleep(seconds - 1)
    assert len(api.asked("subjectaccessreviews")) == 1
    api.rights.symmetric_difference_update({("ada", "get", "stats")})
    await trio.sleep(2)
    assert await authorizer.allows(ADA, rights) is not allowed


async def test_no_answer_is_no_permission(autojump_clock, api, authorizer):
    api.status = 500
    with pytest.raises(ReviewFailed):
        await authorizer.allows(ADA, Rights("get", ("stats",)))
