"""A network that only the processes of one test are in, with an address that is no loopback one.

An API server refuses to proxy to loopback addresses, and no other address of this machine is a
test's to use.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

ADDRESS = "192.0.2.10"
"""From a range that is kept for examples (RFC 5737)."""

_WAYS = (
    ("unshare", "--net"),
    # Without root's rights: as root of a user namespace.
    ("unshare", "--user", "--map-root-user", "--net"),
)


class NoOwnNetwork(Exception):
    """This machine, or our rights on it, do not allow one; the text says why."""


def inside(command: Sequence[str]) -> list[str]:
    """*command*, to run in a network of its own in which ``ADDRESS`` is this machine's.

    Raises:
        NoOwnNetwork
    """
    missing = [tool for tool in ("ip", "unshare", "sh") if shutil.which(tool) is None]
    if missing:
        raise NoOwnNetwork(f"there is no command {' or '.join(missing)}")
    said = []
    for way in _WAYS:
        tried = subprocess.run([*way, *_prepared(["true"])], capture_output=True, text=True)
        if tried.returncode == 0:
            return [*way, *_prepared(command)]
        said.append(f"{' '.join(way)} as user {os.geteuid()}: {tried.stderr.strip()}")
    raise NoOwnNetwork("; ".join(said))


def _prepared(command: Sequence[str]) -> list[str]:
    steps = (
        "ip link set lo up",
        # On that interface, for not every kernel has others to offer.
        f"ip address add {ADDRESS}/32 dev lo",
        'exec "$@"',
    )
    return ["sh", "-c", " && ".join(steps), "sh", *command]
