"""Ports of probes and hooks, which may be given by name."""

from __future__ import annotations

from kraftlet_trio.kubernetes.pod import Container
from kraftlet_trio.probes.outcome import CannotProbe


def container_port(port: int | str | None, container: Container) -> int:
    """The number that *port* stands for. Raises ``CannotProbe``.

    Source: kubelet's probe package (ResolveContainerPort): a name that no port of the container
    has may still be a number in quotes.
    """
    number = port
    if isinstance(port, str):
        number = next((one.container_port for one in container.ports if one.name == port), None)
        if number is None:
            if not port.isdecimal():
                raise CannotProbe(
                    f"container {container.name} has no port named {port!r}; "
                    "name one of its ports so, or give a number"
                )
            number = int(port)
    if not isinstance(number, int) or not 0 < number < 65536:
        raise CannotProbe(f"invalid port number: {number}")
    return number
