"""``exec`` by the Python client of Kubernetes, which speaks WebSocket in its old form.

A program of its own, for the client leaves its connections to the end of the process:
``python -m tests.e2e.bed.python_client POD COMMAND…`` with the kubeconfig in ``KUBECONFIG``.
"""

from __future__ import annotations

import sys

import kubernetes.client  # type: ignore[import-untyped]
import kubernetes.config  # type: ignore[import-untyped]
import kubernetes.stream  # type: ignore[import-untyped]


def main(pod: str, *command: str) -> int:
    kubernetes.config.load_kube_config()
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


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
