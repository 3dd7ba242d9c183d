"""``exec`` and ``port-forward`` by the Python client of Kubernetes, over WebSocket in its old form.

A program of its own, for the client leaves its connections to the end of the process:
``python -m tests.e2e.bed.python_client exec POD COMMAND…``, or ``… port-forward POD PORT``, which
sends its input there and writes what comes back; with the kubeconfig in ``KUBECONFIG``.
"""

from __future__ import annotations

import sys

import kubernetes.client  # type: ignore[import-untyped]
import kubernetes.config  # type: ignore[import-untyped]
import kubernetes.stream  # type: ignore[import-untyped]


def execute(pod: str, *command: str) -> int:
    session = kubernetes.stream.stream(
        kubernetes.client.CoreV1Api().connect_get_namespaced_pod_exec,
        pod,
        "default",
        container="app",
        command=list(command),
        stdin=True,
        stdout=True,
        stderr=True,
        _preload_content=False,
    )
    # Its protocol has no end of the input.
    session.write_stdin(sys.stdin.read())
    session.run_forever(timeout=30)
    sys.stdout.write(session.read_stdout())
    sys.stderr.write(session.read_stderr())
    return int(session.returncode)


def forward(pod: str, port: str) -> int:
    forwarding = kubernetes.stream.portforward(
        kubernetes.client.CoreV1Api().connect_get_namespaced_pod_portforward,
        pod,
        "default",
        ports=port,
    )
    connection = forwarding.socket(int(port))
    connection.setblocking(True)
    connection.sendall(sys.stdin.buffer.read())
    while data := connection.recv(65536):
        sys.stdout.buffer.write(data)
    if error := forwarding.error(int(port)):
        sys.stderr.write(str(error))
        return 1
    return 0


if __name__ == "__main__":
    kubernetes.config.load_kube_config()
    does, *arguments = sys.argv[1:]
    sys.exit({"exec": execute, "port-forward": forward}[does](*arguments))
