"""A guest's own network, and its own view of the files: done by its supervisor, as root.

The network is one end of a virtual cable into the hub, a network namespace of the simulator. The
root directory is the image's, or the machine's, below a layer in memory that takes all that is
written; volumes and ROMs are mounted on top. Nothing of it shows outside, or outlives the guest.
"""

from __future__ import annotations

import os
from typing import Any

from kraftlet_trio.simulators.cloud.guests import linux

_INTERNAL = frozenset(
    {
        *("proc", "sysfs", "devtmpfs", "devpts", "tmpfs", "cgroup", "cgroup2", "mqueue"),
        *("debugfs", "tracefs", "securityfs", "pstore", "bpf", "hugetlbfs", "fusectl"),
        *("configfs", "binfmt_misc", "autofs", "rpc_pipefs", "nsfs", "ramfs", "overlay"),
    }
)
"""Kinds of file systems of the machine that guests get anew or not at all."""
_HUB_FD = 9
_OWN = ("/tmp", "/run", "/var/tmp")
"""Where the machine keeps what is none of a guest's business, the simulator's files included."""


def enter_network(hub: int, isolation: dict[str, Any]) -> None:
    """Plug this process's new network namespace into the one that *hub* is a descriptor of."""
    cable = f"type veth peer name {isolation['link']} netns /proc/self/fd/{_HUB_FD}"
    _ip("link", "set", "lo", "up")
    _ip("link", "add", "eth0", *cable.split(), known=hub)
    _ip("link", "set", isolation["link"], "master", isolation["bridge"], "up", inside=hub)
    _ip("address", "add", isolation["address"], "dev", "eth0")
    _ip("link", "set", "eth0", "up")
    _ip("route", "add", "default", "via", isolation["gateway"])


def make_hub(bridge: str, address: str) -> None:
    """Make this process's network namespace a new one that guests can be plugged into."""
    linux.unshare(linux.CLONE_NEWNET)
    _ip("link", "set", "lo", "up")
    _ip("link", "add", bridge, "type", "bridge")
    _ip("address", "add", address, "dev", bridge)
    _ip("link", "set", bridge, "up")


def _ip(*words: str, inside: int | None = None, known: int | None = None) -> None:
    """Run the command, *inside* another network namespace; it finds *known* as ``_HUB_FD``."""
    child = os.fork()
    if child == 0:
        try:
            if inside is not None:
                linux.setns(inside, linux.CLONE_NEWNET)
            if known is not None:
                os.dup2(known, _HUB_FD)
            os.execvp("ip", ["ip", *words])
        finally:
            os._exit(127)
    _, status = os.waitpid(child, 0)
    if status:
        raise OSError(f"failed: ip {' '.join(words)}")


def enter_root(isolation: dict[str, Any]) -> None:
    """Change to the guest's files. In the first process of its PID namespace: /proc is for that."""
    linux.mount("", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    root = _layered_root(isolation["scratch"], isolation["root"])
    machines = isolation["root"] == "/"
    if machines:
        _bind_other_file_systems(root)
    for path in _OWN:
        _mount_at(root + path, "tmpfs", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV)
    for path in isolation["needs"] if machines else ():
        if not os.path.exists(root + path):
            _bind(path, root + path, readonly=True)
    for each in isolation["mounts"]:
        _bind(each["source"], root + each["at"], readonly=each["readonly"])
    _bind("/dev", root + "/dev", readonly=False)
    _mount_at(root + "/dev/shm", "tmpfs", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV)
    _mount_at(root + "/proc", "proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    _mount_at(root + "/sys", "sysfs", "sysfs", linux.MS_RDONLY)
    _write(root + "/etc/hostname", isolation["hostname"] + "\n")
    _write(root + "/etc/hosts", _hosts(isolation))
    linux.pivot_to(root)


def _layered_root(scratch: str, lower: str) -> str:
    """Mount the image's root with a layer in memory above it; where that is."""
    linux.mount("tmpfs", scratch, "tmpfs", linux.MS_NODEV, "mode=755")
    upper, work, root = (f"{scratch}/{name}" for name in ("upper", "work", "root"))
    for path in (upper, work, root):
        os.mkdir(path, 0o755)
    layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
    linux.mount("overlay", root, "overlay", 0, layers)
    return root


def _bind_other_file_systems(root: str) -> None:
    """The layers hold the machine's root file system alone, so others are bound, read-only."""
    with open("/proc/self/mountinfo") as file:
        lines = [line.split(" ") for line in file]
    for words in lines:
        path, kind = words[4], words[words.index("-") + 1]
        inside = any(f"{path}/".startswith(f"{each}/") for each in (*_OWN, "/proc", "/sys", "/dev"))
        if path == "/" or kind in _INTERNAL or inside or "\\" in path or not os.path.isdir(path):
            continue
        _bind(path, root + path, readonly=True)


def _bind(source: str, target: str, *, readonly: bool) -> None:
    _mount_at(target, source, "", linux.MS_BIND | linux.MS_REC)
    if readonly:
        flags = linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY
        linux.mount("", target, "", flags)


def _mount_at(target: str, source: str, kind: str, flags: int = 0) -> None:
    os.makedirs(target, exist_ok=True)
    linux.mount(source, target, kind, flags)


def _hosts(isolation: dict[str, Any]) -> str:
    address = isolation["address"].partition("/")[0]
    name = isolation["hostname"]
    return f"127.0.0.1 localhost\n::1 localhost\n{address} {name}.internal {name}\n"


def _write(path: str, text: str) -> None:
    """In place of a link, too: where it points to is not the guest's."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.islink(path):
        os.unlink(path)
    with open(path, "w") as file:
        file.write(text)
