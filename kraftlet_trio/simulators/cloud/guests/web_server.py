"""A small web server on the instance's address and ``$PORT`` (8080): an echo, or static files.

Files are served from ``usr/share/nginx/html`` below the instance's root directory, where a volume
or ROM may be mounted. Without that directory, every answer says what was asked, and who answers:
the instance's name, in a header ``x-instance``, too. SIGTERM ends it with exit code 0.
"""

from __future__ import annotations

import html
import os
import signal
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_NAME = os.environ.get("UKC_SIM_NAME", "nobody")


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        request = f"{self.requestline}\n{self.headers}{self._body()}"
        page = (
            "<html><body><h1>Welcome to nginx!</h1>"
            f"<p>instance: {html.escape(_NAME)}</p><pre>{html.escape(request)}</pre>"
            "</body></html>\n"
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(page)))
        self.send_header("x-instance", _NAME)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - as the base says

    def _body(self) -> str:
        length = int(self.headers.get("content-length") or 0)
        return self.rfile.read(length).decode(errors="replace")


def main() -> None:
    address = os.environ.get("UKC_SIM_IP", "127.0.0.1")
    port = int(os.environ.get("PORT", "8080"))
    root = Path(os.environ.get("UKC_SIM_ROOT", "."))
    content = root / "usr/share/nginx/html"
    # Below the machine's own root there may be pages of a web server of its own.
    own_files = content.is_mount() if root == Path("/") else content.is_dir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(content)) if own_files else _Echo
    server = ThreadingHTTPServer((address, port), handler)
    # shutdown() waits for the loop that this handler interrupts, hence the thread.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"listening on {address}:{port}", flush=True)
    server.serve_forever(poll_interval=0.05)
    sys.exit(0)


if __name__ == "__main__":
    main()
