"""A real control plane on loopback: etcd, API server, controller manager, scheduler."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import httpx

from tests.e2e.bed.certificates import Authority, Pair
from tests.e2e.bed.kubeconfig import write_kubeconfig
from tests.e2e.bed.processes import Process, free_port
from tests.e2e.bed.waiting import eventually

LOOPBACK = "127.0.0.1"
FRONT_PROXY = "front-proxy"
BUILD = Path(__file__).parents[1] / "controlplane" / "build"

# The daemon's requests, to see afterwards what it was refused.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts:kraftlet"]
  - level: None
"""


def binaries() -> Path:
    """The folder of the built binaries; builds them (minutes) where the cache has none."""
    built = subprocess.run([BUILD], check=True, stdout=subprocess.PIPE, text=True)
    return Path(built.stdout.strip())


@attrs.frozen
class ControlPlane:
    server: str
    authority: Authority
    folder: Path
    admin_kubeconfig: Path
    audit_log: Path
    processes: tuple[Process, ...]


@contextmanager
def running_control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Starts all four, yields when each calls itself healthy, and ends them in reverse order."""
    tools = binaries()
    authority = Authority(folder)
    etcd, api = f"http://{LOOPBACK}:{free_port()}", f"https://{LOOPBACK}:{free_port()}"
    with ExitStack() as stack:
        processes = []

        def start(name: str, binary: str, flags: Sequence[str]) -> Process:
            process = Process.start(name, [str(tools / binary), *flags], log=folder / f"{name}.log")
            # etcd and the rest hold nothing worth a graceful end.
            stack.callback(process.kill)
            processes.append(process)
            return process

        process = start("etcd", "server", _etcd_flags(folder, etcd))
        _await_healthy(process, f"{etcd}/health")

        token_key = authority.signing_key("service-accounts")
        audit_log = folder / "audit.log"
        process = start(
            "kube-apiserver",
            "kube-apiserver",
            _api_server_flags(folder, authority, etcd, api, token_key, audit_log),
        )
        admin = authority.issue("admin", organization="system:masters")
        _await_healthy(process, f"{api}/readyz", ca=authority.certificate, client=admin)

        def kubeconfig(name: str, user: Pair) -> Path:
            return write_kubeconfig(
                folder / f"{name}.kubeconfig", server=api, ca=authority.certificate, user=user
            )

        followers = []
        for name, flags in [
            (
                "kube-controller-manager",
                [
                    f"--service-account-private-key-file={token_key}",
                    f"--root-ca-file={authority.certificate}",
                    f"--cluster-signing-cert-file={authority.certificate}",
                    f"--cluster-signing-key-file={authority.key}",
                    "--use-service-account-credentials",
                ],
            ),
            ("kube-scheduler", []),
        ]:
            port = free_port()
            access = kubeconfig(name, authority.issue(f"system:{name}"))
            process = start(name, name, [*_follower_flags(folder, name, access, port), *flags])
            followers.append((process, port))
        for process, port in followers:
            _await_healthy(process, f"https://{LOOPBACK}:{port}/healthz")

        yield ControlPlane(
            server=api,
            authority=authority,
            folder=folder,
            admin_kubeconfig=kubeconfig("admin", admin),
            audit_log=audit_log,
            processes=tuple(processes),
        )


def _etcd_flags(folder: Path, client_url: str) -> list[str]:
    peer_url = f"http://{LOOPBACK}:{free_port()}"
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client_url}",
        f"--advertise-client-urls={client_url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=default={peer_url}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _api_server_flags(
    folder: Path, authority: Authority, etcd: str, api: str, token_key: Path, audit_log: Path
) -> list[str]:
    serving = authority.issue(
        "kube-apiserver", hosts=(LOOPBACK, "localhost", "kubernetes.default.svc")
    )
    kubelet_client = authority.issue("kube-apiserver-kubelet-client", organization="system:masters")
    front_proxy = authority.issue(FRONT_PROXY)
    policy = folder / "audit-policy.yaml"
    policy.write_text(AUDIT_POLICY)
    return [
        f"--etcd-servers={etcd}",
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        f"--secure-port={api.rpartition(':')[2]}",
        # A loopback address is no endpoint for the Service `kubernetes`; nothing needs one here.
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        f"--client-ca-file={authority.certificate}",
        # Aggregated API servers learn by these who asks.
        f"--requestheader-client-ca-file={authority.certificate}",
        f"--requestheader-allowed-names={FRONT_PROXY}",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={front_proxy.certificate}",
        f"--proxy-client-key-file={front_proxy.key}",
        f"--kubelet-client-certificate={kubelet_client.certificate}",
        f"--kubelet-client-key={kubelet_client.key}",
        "--authorization-mode=Node,RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={token_key}",
        f"--service-account-signing-key-file={token_key}",
        "--service-cluster-ip-range=10.96.0.0/16",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={audit_log}",
    ]


def _follower_flags(folder: Path, name: str, kubeconfig: Path, port: int) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        *([f"--cert-dir={folder / name}"] if name == "kube-controller-manager" else []),
        "--leader-elect=false",
    ]


def _await_healthy(
    process: Process, url: str, *, ca: Path | None = None, client: Pair | None = None
) -> None:
    # Without an authority the server signed for itself and nobody can check it.
    trust = ssl.create_default_context(cafile=ca) if ca else ssl._create_unverified_context()
    if client:
        trust.load_cert_chain(client.certificate, client.key)
    with httpx.Client(verify=trust, timeout=5, trust_env=False) as http:

        def healthy() -> bool:
            process.assert_alive()
            try:
                return http.get(url).status_code == 200
            except httpx.TransportError:
                return False

        healthy.__doc__ = f"{process.name} is healthy at {url}"
        eventually(healthy, timeout=90)
