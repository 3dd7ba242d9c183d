"""The words by which a terminal is opened, run by a real shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.commands.terminal import announced, terminal_command
from kraftlet_trio.streaming.remote_command import TerminalSize

TOOLS = ("sh", "stty", "tty", "cat", "printf", "sleep")
HAS_SCRIPT = shutil.which("script") is not None


@pytest.fixture(params=["script", "python3", "neither"])
def guest(request, tmp_path):
    """Environment of a guest that has that one means."""
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(shutil.which(tool) or "/bin/false")
    if request.param == "script":
        if not HAS_SCRIPT:
            pytest.skip("this machine lacks util-linux's script")
        (tmp_path / "script").symlink_to(shutil.which("script"))
    if request.param == "python3":
        (tmp_path / "python3").symlink_to(sys.executable)
    return request.param, {"PATH": str(tmp_path)}


def run(guest, *argv, size=None, stdin=b"", **more):
    """The announced terminal, what is written behind that, and the exit code."""
    done = subprocess.run(
        terminal_command(argv, size),
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=guest[1] | more,
        start_new_session=True,
        timeout=20,
    )
    tty, rest = announced(done.stdout)
    return tty, rest, done.returncode


def test_it_is_a_terminal_of_that_size_where_it_can_be(guest):
    tty, rest, code = run(guest, "stty", "size", size=TerminalSize(91, 37))
    if guest[0] == "neither":
        assert tty == "none"
        assert code != 0
    else:
        assert tty.startswith("/dev/")
        assert (rest, code) == (b"37 91\r\n", 0)


def test_words_arrive_as_they_are(guest):
    words = ["two words", "it's", 'a "quote"', "$HOME `id` \\n", "ünïcode", "*", ""]
    _, rest, _ = run(guest, "printf", "[%s]", *words)
    assert rest.decode() == "".join(f"[{word}]" for word in words)


@pytest.mark.parametrize("script", ["exit 42", "kill -9 $$"])
def test_the_exit_code_is_the_commands(guest, script):
    _, _, code = run(guest, "sh", "-c", script)
    direct = subprocess.run(["sh", "-c", script], timeout=20).returncode
    # Without a terminal between, the sandbox tells of the signal.
    told = direct if direct >= 0 or guest[0] == "neither" else 128 - direct
    assert code == told


@pytest.mark.parametrize(("given", "told"), [({}, "xterm"), ({"TERM": "vt100"}, "vt100")])
def test_programs_know_what_terminal_it_is(guest, given, told):
    _, rest, _ = run(guest, "sh", "-c", "printf %s $TERM", **given)
    assert rest.decode() == told


def test_no_such_program_is_what_a_shell_says_of_it(guest):
    _, rest, code = run(guest, "no-such-program")
    assert code == 127
    assert b"not found" in rest


@given(st.binary(max_size=20), st.integers(0, 30))
def test_an_announcement_is_understood_once_it_is_whole(rest, cut):
    whole = b"\x1e/dev/pts/3\x1e" + rest
    assert announced(whole) == ("/dev/pts/3", rest)
    if cut < len(whole) - len(rest):
        assert announced(whole[:cut]) is None


def test_what_announces_nothing_has_no_name():
    assert announced(b"script: failed to create pseudo-terminal") == (
        "",
        b"script: failed to create pseudo-terminal",
    )
    assert announced(b"") is None


def test_this_machine_has_a_means():
    """So that the others are no skips all of them."""
    assert os.path.exists("/dev/ptmx")
