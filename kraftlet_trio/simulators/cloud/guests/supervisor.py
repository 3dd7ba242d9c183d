"""Runs one guest and sees to it that nothing of it is left: a process of its own for each.

It reads its orders, one line of JSON, from standard input, and lives as long as that is open: the
simulator holds the other end, and may end in whatever way. SIGTERM is passed on to the guest's
process group. It ends as the application does, by exit code or by signal. What goes wrong before
the application begins is written to the descriptor that the first argument names; that is closed
without a word once the application runs.

Isolated, the guest gets a second process of this kind, the first of its PID namespace: when that
ends, the kernel kills all that is in there.
"""

from __future__ import annotations

import errno
import grp
import json
import os
import pwd
import resource
import select
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

from kraftlet_trio.simulators.cloud.guests import linux
from kraftlet_trio.simulators.cloud.guests.namespaces import enter_network, enter_root

_SETUP_FAILED = 127
"""As a shell says of a command that it does not find."""
_ISOLATED = linux.CLONE_NEWUTS | linux.CLONE_NEWIPC | linux.CLONE_NEWNET


def main() -> NoReturn:
    report = _private(int(sys.argv[1]))
    orders = json.loads(_read_line(0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Held back until there is somebody to pass it on to, and a handler that does.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        status = (
            _run_isolated(orders, report) if orders["isolation"] else _run_plainly(orders, report)
        )
    except OSError as error:
        os.write(report, str(error).encode())
        sys.exit(_SETUP_FAILED)
    _end_like(status)


def _private(fd: int) -> int:
    """The same under another number, closed in what this process executes."""
    other = os.dup(fd)
    os.close(fd)
    return other


def _read_line(fd: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(fd, 65536)
        if not data:
            sys.exit(_SETUP_FAILED)
        line += data
    return line


def _run_plainly(orders: dict[str, Any], report: int) -> int:
    linux.adopt_orphans()
    child = _fork_application(orders, report)
    os.close(report)
    return _supervise(child, leader=child)


def _run_isolated(orders: dict[str, Any], report: int) -> int:
    isolation = orders["isolation"]
    hub = _private(isolation["hub"])
    linux.unshare(_ISOLATED)
    linux.sethostname(isolation["hostname"])
    enter_network(hub, isolation)
    linux.unshare(linux.CLONE_NEWPID)  # from here on, the first child is the first process
    told, tells = os.pipe()
    first = os.fork()
    if first == 0:
        linux.die_with_parent(signal.SIGKILL)
        os.close(told)
        _be_first_process(orders, report, tells)
    os.close(report)
    os.close(tells)
    _supervise(first, leader=None)
    said = os.read(told, 16)
    return int(said) if said else signal.SIGKILL


def _be_first_process(orders: dict[str, Any], report: int, tells: int) -> NoReturn:
    try:
        linux.unshare(
            linux.CLONE_NEWNS
        )  # not before: the other supervisor needs the machine's /proc
        enter_root(orders["isolation"])
        child = _fork_application(orders, report)
        os.close(report)
        signal.signal(signal.SIGTERM, lambda *_: _signal_group(child, signal.SIGTERM))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        while (ended := os.waitpid(-1, 0))[0] != child:
            pass
        os.write(tells, str(ended[1]).encode())
    except OSError as error:
        os.write(report, str(error).encode())
        os.write(tells, str(_SETUP_FAILED << 8).encode())
    os._exit(0)


def _fork_application(orders: dict[str, Any], report: int) -> int:
    child = os.fork()
    if child:
        return child
    try:
        if orders["isolation"] is None:
            linux.die_with_parent(signal.SIGKILL)
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(1, 2)
        with open("/proc/self/oom_score_adj", "w") as file:  # before anything else of the machine
            file.write("1000")
        for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.makedirs(orders["cwd"], exist_ok=True)
        os.chdir(orders["cwd"])
        if orders["user"]:
            _become(orders["user"])
        os.execvpe(orders["argv"][0], orders["argv"], orders["env"])
    except OSError as error:
        os.write(report, f"{orders['argv'][0]}: {error.strerror}".encode())
    os._exit(_SETUP_FAILED)


def _become(user: str) -> None:
    """*user* as in an image's configuration: a name or number, perhaps a colon and a group."""
    name, _, group_name = user.partition(":")
    try:
        account = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        uid, gid = account.pw_uid, account.pw_gid
    except KeyError:
        if not name.isdigit():
            raise OSError(errno.EINVAL, f"no user {name}") from None
        uid, gid = int(name), 0
    if group_name:
        gid = int(group_name) if group_name.isdigit() else grp.getgrnam(group_name).gr_gid
    os.setgroups([gid])
    os.setgid(gid)
    os.setuid(uid)


def _supervise(child: int, *, leader: int | None) -> int:
    """Wait for *child*, or kill it when the simulator lets go; then nothing of it is left.

    SIGTERM goes to the process group *leader*, or to *child* alone.
    """

    def terminate(*_: object) -> None:
        if leader is None:
            os.kill(child, signal.SIGTERM)
        else:
            _signal_group(leader, signal.SIGTERM)

    wakes, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, terminate)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the simulator's business
    while True:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                _kill_descendants()
                return ended[1]
        readable, _, _ = select.select([0, wakes], [], [])
        if wakes in readable:
            os.read(wakes, 4096)
        elif not os.read(0, 4096):
            break
    _kill_descendants()
    return signal.SIGKILL


def _kill_descendants() -> None:
    """Those that are orphaned by it become children of this process, and are next."""
    while True:
        for child in _children():
            os.kill(child, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


def _signal_group(leader: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, number)


def _end_like(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
