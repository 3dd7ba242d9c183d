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
    kubectl("create", "serviceaccount", "scraper", "--namespace=default")
    kubectl("create", "clusterrole", "scraper", "--verb=get", "--resource=nodes/metrics")
    kubectl(
        *("create", "clusterrolebinding", "scraper"),
        *("--clusterrole=scraper", "--serviceaccount=default:scraper"),
    )
    try:
        headers = {"authorization": f"Bearer {a_token(kubectl, 'scraper')}"}
        with caller(kubectl) as http:
            assert http.get("/metrics", headers=headers).status_code == 200
            assert http.get("/metrics/resource", headers=headers).status_code == 200
            assert http.get("/stats/summary", headers=headers).status_code == 403
            refused = http.get("/pods", headers=headers)
            assert refused.status_code == 403
            assert refused.text.startswith(
                "Forbidden (user=system:serviceaccount:default:scraper, verb=get, resource=nodes, "
            )
    finally:
        kubectl("delete", "clusterrolebinding,clusterrole", "scraper")
        kubectl("delete", "serviceaccount", "scraper", "--namespace=default")


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
