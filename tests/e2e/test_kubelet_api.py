"""Who gets what from the node's own port, as a real API server judges tokens and rights."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.bed.certificates import Authority, Pair
from tests.e2e.bed.control_plane import ControlPlane
from tests.e2e.bed.daemon import NODE, Daemon
from tests.e2e.bed.kubectl import Kubectl

PATHS = [
    "/pods",
    "/runningpods/",
    "/metrics",
    "/metrics/resource",
    "/stats/summary",
    "/healthz",
    "/exec/default/web/app",
    "/attach/default/web/app",
    "/portForward/default/web",
    "/run/default/web/app",
    "/nothing",
]


@contextmanager
def caller(kubectl: Kubectl, *, certificate: Pair | None = None) -> Iterator[httpx.Client]:
    node = kubectl.json("get", "node", NODE)
    port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    context = ssl._create_unverified_context()  # the node signed for itself
    if certificate is not None:
        context.load_cert_chain(certificate.certificate, certificate.key)
    url = f"https://127.0.0.1:{port}"
    with httpx.Client(base_url=url, verify=context, timeout=20, trust_env=False) as http:
        yield http


def statuses(http: httpx.Client, token: str = "") -> set[int]:
    """Of all paths."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return {http.get(path, headers=headers).status_code for path in PATHS}


def a_token(kubectl: Kubectl, account: str, *options: str) -> str:
    return kubectl("create", "token", account, "--namespace=default", *options).stdout.strip()


def test_nobody_gets_anything(daemon: Daemon, kubectl: Kubectl) -> None:
    with caller(kubectl) as http:
        assert statuses(http) == {401}
        assert statuses(http, "made-up") == {401}


def test_token_of_no_rights_gets_nothing(daemon: Daemon, kubectl: Kubectl) -> None:
    with caller(kubectl) as http:
        assert statuses(http, a_token(kubectl, "default")) == {403}


def test_token_for_another_audience_is_nobodys(daemon: Daemon, kubectl: Kubectl) -> None:
    with caller(kubectl) as http:
        assert statuses(http, a_token(kubectl, "default", "--audience=vault")) == {401}


def test_token_gets_what_its_rights_cover(daemon: Daemon, kubectl: Kubectl) -> None:
    with bound(kubectl, "scraper", "get", "nodes/metrics") as headers, caller(kubectl) as http:
        assert http.get("/metrics", headers=headers).status_code == 200
        assert http.get("/metrics/resource", headers=headers).status_code == 200
        assert http.get("/stats/summary", headers=headers).status_code == 403
        refused = http.get("/pods", headers=headers)
        assert refused.status_code == 403
        assert refused.text.startswith(
            "Forbidden (user=system:serviceaccount:default:scraper, verb=get, resource=nodes, "
        )


@contextmanager
def bound(kubectl: Kubectl, name: str, verb: str, resource: str) -> Iterator[dict[str, str]]:
    """The headers of an account with that right."""
    kubectl("create", "serviceaccount", name, "--namespace=default")
    kubectl("create", "clusterrole", name, f"--verb={verb}", f"--resource={resource}")
    kubectl(
        *("create", "clusterrolebinding", name),
        *(f"--clusterrole={name}", f"--serviceaccount=default:{name}"),
    )
    try:
        yield {"authorization": f"Bearer {a_token(kubectl, name)}"}
    finally:
        kubectl("delete", "clusterrolebinding,clusterrole", name)
        kubectl("delete", "serviceaccount", name, "--namespace=default")


WEBSOCKET = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def test_who_may_look_may_not_act(daemon: Daemon, kubectl: Kubectl) -> None:
    with bound(kubectl, "viewer", "get", "nodes/proxy") as viewer, caller(kubectl) as http:
        assert http.get("/pods", headers=viewer).status_code == 200
        for path in (
            "/exec/default/web/app",
            "/attach/default/web/app",
            "/portForward/default/web",
        ):
            for method in ("GET", "POST"):
                for more in ({}, WEBSOCKET):
                    answer = http.request(
                        method, f"{path}?command=id&output=1", headers=viewer | more
                    )
                    assert answer.status_code == 403
                    assert "verb=create" in answer.text
        assert http.post("/run/default/web/app?cmd=id", headers=viewer).status_code == 403
    with bound(kubectl, "actor", "create", "nodes/proxy") as actor, caller(kubectl) as http:
        answer = http.get("/exec/default/web/app?command=id&output=1", headers=actor | WEBSOCKET)
        assert (answer.status_code, answer.text) == (404, "pod does not exist")


def test_token_of_a_deleted_account_is_nobodys(daemon: Daemon, kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "gone", "--namespace=default")
    token = a_token(kubectl, "gone")
    kubectl("delete", "serviceaccount", "gone", "--namespace=default")
    with caller(kubectl) as http:
        assert statuses(http, token) == {401}


def test_the_api_servers_certificate_gets_all(
    daemon: Daemon, kubectl: Kubectl, control_plane: ControlPlane, tmp_path: Path
) -> None:
    admin = control_plane.authority.issue("kubelet-caller", organization="system:masters")
    with caller(kubectl, certificate=admin) as http:
        pods = http.get("/pods").json()
        assert (pods["kind"], pods["apiVersion"]) == ("PodList", "v1")
        assert http.get("/runningpods/").json()["items"] == []
        assert http.get("/healthz").text == "ok"
        assert http.get("/nothing").status_code == 404
        assert http.delete("/pods").status_code == 405


def test_certificate_of_another_authority_gets_no_connection(
    daemon: Daemon, kubectl: Kubectl, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path).issue("admin", organization="system:masters")
    with caller(kubectl, certificate=stranger) as http, pytest.raises(httpx.TransportError):
        http.get("/pods")


def test_server_certificate_is_no_clients(
    daemon: Daemon, kubectl: Kubectl, control_plane: ControlPlane
) -> None:
    server = control_plane.authority.issue(
        "a-server", organization="system:masters", hosts=("a-server",)
    )
    with caller(kubectl, certificate=server) as http, pytest.raises(httpx.TransportError):
        http.get("/pods")


def test_certificate_without_rights_gets_nothing(
    daemon: Daemon, kubectl: Kubectl, control_plane: ControlPlane
) -> None:
    eve = control_plane.authority.issue("eve")
    with caller(kubectl, certificate=eve) as http:
        assert statuses(http) == {403}


def test_health_port_asks_nobody_and_tells_nothing_else(daemon: Daemon) -> None:
    told = [
        json.loads(line) for line in daemon.log.read_text().splitlines() if "health port" in line
    ]
    url = f"http://127.0.0.1:{told[-1]['port']}"
    with httpx.Client(base_url=url, timeout=10, trust_env=False) as http:
        for path in ("/livez", "/readyz", "/healthz"):
            assert http.get(path).text == "ok"
        for path in ("/pods", "/metrics", "/"):
            assert http.get(path).status_code == 404
