"""The sandbox plugin's interface, over real commands in a directory."""

import json
import os
import tempfile
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.http.messages import Request
from kraftlet_trio.simulators.cloud.runtime import Surroundings
from kraftlet_trio.simulators.cloud.sandbox import opened_sandbox
from kraftlet_trio.simulators.cloud.sandbox_api import SandboxApi
from kraftlet_trio.simulators.cloud.sandbox_place import SurroundingsPlace

UNKNOWN = "00000000-0000-4000-8000-000000000000"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["/a", "true", "utf-8", "base64", "/", "a/b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["cwd", "env", "path", "data", "encoding", "append", "parents", "filename"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)


# Not any text: the shell would run it.
COMMANDS = st.sampled_from([None, 1, "", "true", [], [""], ["true", 1], ["no-such"], {"a": "b"}])


class Caller:
    def __init__(self, api):
        self.api = api

    async def send(self, method, path, body=None, **headers):
        content = body if isinstance(body, bytes) else b"" if body is None else _encoded(body)
        return await self.api.handle(
            Request(method=method, path=path, body=content, headers=headers)
        )

    async def call(self, method, path, body=None):
        response = await self.send(method, path, body)
        assert response.status == 200, response
        document = json.loads(response.body)
        assert document["status"] == "success"
        return document["data"]

    async def start(self, cmd, **members):
        uuid = (await self.call("POST", "/commands", {"cmd": cmd, **members}))["uuid"]
        return f"/commands/{uuid}"

    async def run(self, cmd, **members):
        """What the command wrote to its two streams, and its exit code."""
        command = await self.start(cmd, **members)
        await self.call("POST", f"{command}/wait")
        logs = await self.call("GET", f"{command}/logs")
        code = (await self.call("GET", command))["exitcode"]
        return b64decode(logs["stdout"]), b64decode(logs["stderr"]), code

    async def status(self, method, path, body=None, **headers):
        return (await self.send(method, path, body, **headers)).status


def _encoded(body):
    return json.dumps(body).encode()


def _base64(data):
    return b64encode(data).decode()


def a_place(root, prefix=()):
    """Of a guest with that root: isolated if its commands need a prefix."""
    return SurroundingsPlace(
        Surroundings(
            command_prefix=prefix,
            root=root,
            cwd=None if prefix else root,
            env={"PATH": os.environ["PATH"], "HOME": str(root)},
        )
    )


@pytest.fixture
async def sandbox(tmp_path, nursery):
    place = a_place(tmp_path)
    callers = []

    async def run(task_status):
        async with opened_sandbox(place) as sandbox:
            callers.append(Caller(SandboxApi(sandbox)))
            task_status.started()
            await trio.sleep_forever()

    with trio.fail_after(30):
        await nursery.start(run)
        yield callers[0]
        nursery.cancel_scope.cancel()


async def test_a_line_is_the_shells_and_a_list_is_not(sandbox):
    assert await sandbox.run("echo a; echo b >&2; exit 3") == (b"a\n", b"b\n", 3)
    assert await sandbox.run(["printf", "%s;", "$HOME", "b c"]) == (b"$HOME;b c;", b"", 0)


async def test_a_command_says_what_it_was_given(sandbox, tmp_path):
    (tmp_path / "work").mkdir()
    command = await sandbox.start(["pwd"], cwd="/work", env={"PATH": "/bin:/usr/bin", "A": "1"})
    await sandbox.call("POST", f"{command}/wait")
    shown = await sandbox.call("GET", command)
    assert shown == {
        "uuid": command.rpartition("/")[2],
        "cmdline": ["pwd"],
        "cwd": "/work",
        "env": {"PATH": "/bin:/usr/bin", "A": "1"},
        "exitcode": 0,
    }
    logs = await sandbox.call("GET", f"{command}/logs")
    assert b64decode(logs["stdout"]).decode().strip() == str(tmp_path / "work")


async def test_a_given_environment_is_the_whole_one(sandbox):
    stdout, _, _ = await sandbox.run(["env"], env={"ONLY": "this"})
    assert stdout == b"ONLY=this\n"


async def test_commands_are_listed_in_the_order_of_their_start(sandbox):
    started = [await sandbox.start("true") for _ in range(3)]
    listed = (await sandbox.call("GET", "/commands"))["commands"]
    assert [f"/commands/{uuid}" for uuid in listed] == started


async def test_a_running_command_has_no_exit_code_and_cannot_be_deleted(sandbox):
    command = await sandbox.start("cat")
    assert (await sandbox.call("GET", command))["exitcode"] is None
    assert await sandbox.status("DELETE", command) == 409
    await sandbox.call("POST", f"{command}/stdin", {"data": "", "eof": True})
    await sandbox.call("POST", f"{command}/wait")
    await sandbox.call("DELETE", command)
    assert await sandbox.status("GET", command) == 404


@pytest.mark.parametrize(
    ("given", "code"), [("INT", -2), ("SIGKILL", -9), (15, -15), ("usr1", -10)]
)
async def test_a_signal_ends_a_command_with_its_number_negated(sandbox, given, code):
    command = await sandbox.start(["sleep", "60"])
    await sandbox.call("POST", f"{command}/signal", {"signal": given})
    await sandbox.call("POST", f"{command}/wait")
    assert (await sandbox.call("GET", command))["exitcode"] == code
    assert await sandbox.status("POST", f"{command}/signal", {"signal": given}) == 410


async def test_a_wait_may_lapse(sandbox):
    command = await sandbox.start(["sleep", "60"])
    path = f"{command}/wait_timeout"
    assert await sandbox.status("POST", path, {"timeout_s": 0.01}) == 408
    assert await sandbox.status("POST", path, {"timeout_s": -1}) == 400
    await sandbox.call("POST", f"{command}/signal", {"signal": 9})
    assert await sandbox.status("POST", path, {"timeout_s": 10}) == 200


async def test_input_is_fed_and_ended(sandbox):
    command = await sandbox.start(["/bin/sh", "-c", "wc -c"])
    await sandbox.call("POST", f"{command}/stdin", {"data": _base64(b"hel"), "eof": False})
    await sandbox.call("POST", f"{command}/stdin", {"data": _base64(b"lo"), "eof": True})
    await sandbox.call("POST", f"{command}/wait_timeout", {"timeout_s": 10})
    logs = await sandbox.call("GET", f"{command}/logs")
    assert b64decode(logs["stdout"]).strip() == b"5"
    assert await sandbox.status("POST", f"{command}/stdin", {"data": _base64(b"x")}) == 410
    assert await sandbox.status("POST", f"{command}/stdin", {"data": "", "eof": True}) == 200


async def test_logs_are_read_in_parts(sandbox):
    command = await sandbox.start("printf 0123456789; printf abc >&2")
    await sandbox.call("POST", f"{command}/wait")
    ranges = {"stdout": {"offset": 2, "limit": 3}, "stderr": {"offset": 1}}
    logs = await sandbox.call("GET", f"{command}/logs", ranges)
    assert (b64decode(logs["stdout"]), b64decode(logs["stderr"])) == (b"234", b"bc")
    assert (logs["stdout_available"], logs["stderr_available"]) == (10, 3)
    one = {"stdout": {"offset": 0}}
    assert await sandbox.status("GET", f"{command}/logs", one) == 400


@pytest.mark.parametrize(
    ("wanted", "status", "content", "told"),
    [
        ("", 200, b"0123456789", None),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
async def test_raw_logs_honour_ranges(sandbox, wanted, status, content, told):
    command = await sandbox.start("printf 0123456789")
    await sandbox.call("POST", f"{command}/wait")
    response = await sandbox.send("GET", f"{command}/logs/raw/stdout", range=wanted)
    assert (response.status, response.body) == (status, content)
    assert response.headers.get("content-range") == told


async def test_deleted_logs_are_gone_and_their_writer_is_told(sandbox):
    command = await sandbox.start("while echo line; do sleep 0.01; done")
    await sandbox.call("DELETE", f"{command}/logs")
    assert await sandbox.status("GET", f"{command}/logs") == 410
    assert await sandbox.status("GET", f"{command}/logs/raw/stderr") == 410
    await sandbox.call("POST", f"{command}/wait")
    assert (await sandbox.call("GET", command))["exitcode"] != 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/logs"),
        ("DELETE", "/logs"),
        ("GET", "/logs/raw/stdout"),
        ("POST", "/stdin"),
        ("POST", "/signal"),
        ("POST", "/wait"),
        ("POST", "/wait_timeout"),
    ],
)
async def test_an_unknown_command_is_404_without_a_body(sandbox, method, path):
    response = await sandbox.send(method, f"/commands/{UNKNOWN}{path}", {})
    assert (response.status, response.body) == (404, b"")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/commands", {"cmd": []}),
        ("/commands", {"cmd": ""}),
        ("/commands", {"cmd": ["no-such-program"]}),
        ("/commands", {"cmd": 1}),
        ("/commands", {"cmd": "true", "env": {"A": 1}}),
        ("/commands", {"cmd": "true", "tty": True}),
        ("/commands", b"{"),
        ("/fs/read", {"path": ""}),
        ("/fs/read", {}),
        ("/fs/write", {"path": "/a", "encoding": "base64", "data": "?"}),
        ("/fs/write", {"path": "/a", "encoding": "latin-1", "data": ""}),
    ],
)
async def test_wrong_requests_are_400(sandbox, path, body):
    response = await sandbox.send("POST", path, body)
    assert response.status == 400
    assert json.loads(response.body)["status"] == "error"


async def test_what_cannot_be_spawned_is_500(sandbox):
    assert await sandbox.status("POST", "/commands", {"cmd": ["true"], "cwd": "/none"}) == 500


async def test_a_body_beyond_2_mib_is_too_large(sandbox):
    assert await sandbox.status("POST", "/fs/write", b" " * (2 * 1024 * 1024 + 1)) == 413


async def test_files_are_written_in_pieces_and_read(sandbox, tmp_path):
    await sandbox.call("POST", "/fs/mkdir", {"path": "/a/b", "parents": True})
    write = {"path": "/a/b/c", "encoding": "utf-8", "data": "né", "append": False}
    await sandbox.call("POST", "/fs/write", write)
    more = {"path": "/a/b/c", "encoding": "base64", "data": _base64(b"\xff"), "append": True}
    await sandbox.call("POST", "/fs/write", more)
    read = await sandbox.call("POST", "/fs/read", {"path": "/a/b/c"})
    assert b64decode(read["contents"]) == "né".encode() + b"\xff"
    raw = await sandbox.send("POST", "/fs/read_raw", {"path": "/a/b/c"})
    assert raw.body == "né".encode() + b"\xff"
    assert (tmp_path / "a/b/c").exists()


async def test_an_upload_to_a_directory_takes_the_files_name(sandbox, tmp_path):
    (tmp_path / "d").mkdir()
    upload = {"filename": "f", "encoding": "utf-8", "data": "x", "parents": False}
    await sandbox.call("POST", "/fs/upload", {**upload, "path": "/d"})
    await sandbox.call("POST", "/fs/upload", {**upload, "path": "/new/g", "parents": True})
    assert (tmp_path / "d/f").read_text() == (tmp_path / "new/g").read_text() == "x"


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("read", {"path": "/none"}),
        ("read_raw", {"path": "/none"}),
        ("write", {"path": "/", "append": False, "encoding": "utf-8", "data": "x"}),
        ("mkdir", {"path": "/a/b", "parents": False}),
    ],
)
async def test_what_the_file_system_refuses_is_500(sandbox, action, body):
    assert await sandbox.status("POST", f"/fs/{action}", body) == 500


async def test_paths_do_not_lead_out_of_the_root(sandbox, tmp_path):
    (tmp_path / "inside").write_text("x")
    read = await sandbox.call("POST", "/fs/read", {"path": "/../../../../inside"})
    assert b64decode(read["contents"]) == b"x"


async def test_nothing_outlives_the_guest(tmp_path):
    """The other end of a pipe tells: it closes with the last process that holds it."""
    place = a_place(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    line = "sleep 60 >fifo & sleep 60"
    async with opened_sandbox(place) as sandbox:
        command = await sandbox.start(line, cwd="/", env=None)
        # It opens for reading once a process of the command has it open for writing.
        fifo = await trio.to_thread.run_sync(open, tmp_path / "fifo", "rb")
    assert command.exit_code == -9
    with fifo:
        assert await trio.to_thread.run_sync(fifo.read) == b""


async def test_links_of_an_isolated_guest_stay_within_its_root(tmp_path):
    place = a_place(tmp_path, ("env",))
    (tmp_path / "real").mkdir()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/absolute").symlink_to("/real")
    (tmp_path / "deep/relative").symlink_to("../../../real")
    (tmp_path / "round").symlink_to("round")
    assert place.path("/deep/absolute/f") == tmp_path / "real/f"
    assert place.path("deep/relative/../f") == tmp_path / "f"
    assert place.path("/deep/relative") == tmp_path / "real"
    with pytest.raises(OSError, match="too many links"):
        place.path("/round")


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_strange_requests_are_answered(data):
    """Known paths with anything as a body; 500 is the documented answer of the file system."""
    paths = [
        *("/commands", f"/commands/{UNKNOWN}", "/fs/mkdir", "/fs/read", "/fs/read_raw"),
        *("/fs/write", "/fs/upload", "/fs/none", "/", "/commands/x/logs/raw/stdout"),
    ]
    command = st.fixed_dictionaries({"cmd": COMMANDS}, optional={"cwd": JSON, "env": JSON})
    body = (JSON | command).map(_encoded) | st.binary(max_size=20)
    asked = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(["GET", "POST", "DELETE", "PUT"]), st.sampled_from(paths), body
            ),
            max_size=5,
        )
    )

    async def ask():
        with tempfile.TemporaryDirectory() as root:
            async with opened_sandbox(a_place(Path(root))) as sandbox:
                caller = Caller(SandboxApi(sandbox))
                for method, path, content in asked:
                    response = await caller.send(method, path, content)
                    assert response.status in (200, 400, 404, 500)

    trio.run(ask)
