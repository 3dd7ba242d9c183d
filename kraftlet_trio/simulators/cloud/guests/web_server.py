"""A small web server on the instance's address and ``$PORT`` (8080): static files, or a greeting.

Files are served from ``usr/share/nginx/html`` below the instance's root directory, where a volume
or ROM may be mounted. SIGTERM ends it with exit code 0.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_GREETING = b"<html><body><h1>Welcome to nginx!</h1></body></html>\n"


class _Handler(SimpleHTTPRequestHandler):
    def send_head(self) -> None:
        """Sends the greeting at once: there is no file to copy."""
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(_GREETING)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(_GREETING)


def main() -> None:
    address = os.environ.get("UKC_SIM_IP", "127.0.0.1")
    port = int(os.environ.get("PORT", "8080"))
    content = Path(os.environ.get("UKC_SIM_ROOT", "."), "usr/share/nginx/html")
    handler = (
        partial(SimpleHTTPRequestHandler, directory=str(content)) if content.is_dir() else _Handler
    )
    server = ThreadingHTTPServer((address, port), handler)
    # shutdown() waits for the loop that this handler interrupts, hence the thread.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"listening on {address}:{port}", flush=True)
    server.serve_forever(poll_interval=0.05)
    sys.exit(0)


if __name__ == "__main__":
    main()
