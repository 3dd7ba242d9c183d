"""Makes the network that isolated guests share, and holds it until its standard input is closed.

A line on standard output tells that it is there, or what was wrong. By then the simulator's other
means have been tried out, too: what it takes to give a guest files of its own.
"""

from __future__ import annotations

import os
import sys

from kraftlet_trio.simulators.cloud.guests import linux
from kraftlet_trio.simulators.cloud.guests.namespaces import make_hub

READY = "ready"


def main() -> None:
    bridge, address, scratch = sys.argv[1:]
    try:
        make_hub(bridge, address)
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount("", "/", "", linux.MS_REC | linux.MS_PRIVATE)
        linux.mount("tmpfs", scratch, "tmpfs")
        layers = [f"{scratch}/{name}" for name in ("upper", "work", "root")]
        for path in layers:
            os.mkdir(path)
        options = f"lowerdir=/,upperdir={layers[0]},workdir={layers[1]}"
        linux.mount("overlay", layers[2], "overlay", 0, options)
    except OSError as error:
        print(error, flush=True)
        sys.exit(1)
    print(READY, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
