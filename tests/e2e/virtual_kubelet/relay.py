"""The node's port as the suite's metrics tests expect it: that of a Pod with the node's name.

They go through the API server's proxy to Pods, which calls without any credentials, and this node
answers nobody whom it does not know. So a relay stands where the Pod would, and calls with a
certificate.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from tests.e2e.bed.certificates import Authority
from tests.e2e.bed.kubectl import Kubectl

PORT = 10250
"""The suite knows no other."""


@contextmanager
def relay(kubectl: Kubectl, authority: Authority, *, node: str, address: str) -> Iterator[None]:
    """From port 10250 of *address*, and of the Pod *node*, to the port that the node tells."""
    port = kubectl.json("get", "node", node)["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    caller = authority.issue("relay", organization="system:masters")
    trust = ssl._create_unverified_context()  # the node signed for itself
    trust.load_cert_chain(caller.certificate, caller.key)
    with httpx.Client(
        base_url=f"https://{address}:{port}", verify=trust, trust_env=False
    ) as upstream:

        class Relay(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # (http.server names it)
                answer = upstream.get(self.path)
                self.send_response(answer.status_code)
                self.send_header("content-type", answer.headers["content-type"])
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

        serving = authority.issue("relay-serving", hosts=(address,))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(serving.certificate, serving.key)
        with ThreadingHTTPServer((address, PORT), Relay) as server:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                _stand_in(kubectl, node, address)
                yield
            finally:
                server.shutdown()
                thread.join()


def _stand_in(kubectl: Kubectl, name: str, address: str) -> None:
    """A Pod of that name and address which nobody schedules, and so nobody runs."""
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "schedulerName": "none",
                "containers": [{"name": "relay", "image": "relay"}],
            },
        }
    )
    status = (
        f'{{"status":{{"phase":"Running","podIP":"{address}","podIPs":[{{"ip":"{address}"}}]}}}}'
    )
    kubectl(
        *("patch", "pod", name, "--namespace=default", "--subresource=status"),
        *("--type=merge", "--patch", status),
    )
