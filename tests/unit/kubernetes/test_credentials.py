import ssl
import sys
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
import trio
import trustme

from kraftlet_trio.clock import utc_now
from kraftlet_trio.kubernetes import credentials
from kraftlet_trio.kubernetes.credentials import (
    BasicAuth,
    ConfigError,
    ExecPlugin,
    StaticToken,
    TokenFile,
    load_client_certificate,
)

V1 = "client.authentication.k8s.io/v1"


async def test_fixed_credentials():
    assert await StaticToken("t").authorization() == "Bearer t"
    assert await BasicAuth("me", "pw").authorization() == "Basic bWU6cHc="


async def test_token_file_is_read_again_after_a_minute(tmp_path, autojump_clock):
    path = tmp_path / "token"
    path.write_text("one\n")
    token = TokenFile(path)
    assert await token.authorization() == "Bearer one"
    path.write_text("two\n")
    await trio.sleep(59)
    assert await token.authorization() == "Bearer one"
    await trio.sleep(1)
    assert await token.authorization() == "Bearer two"


async def test_refused_token_file_is_read_again_at_once(tmp_path):
    path = tmp_path / "token"
    path.write_text("one")
    token = TokenFile(path)
    await token.authorization()
    path.write_text("two")
    token.refused()
    assert await token.authorization() == "Bearer two"


async def test_last_token_outlives_its_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("one")
    token = TokenFile(path)
    await token.authorization()
    path.unlink()
    token.refused()
    assert await token.authorization() == "Bearer one"


async def test_unreadable_token_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=f"{tmp_path}/token: no such file"):
        await TokenFile(tmp_path / "token").authorization()
    (tmp_path / "token").write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        await TokenFile(tmp_path / "token").authorization()


class Plugin:
    """A program that notes each run and prints what the test says."""

    def __init__(self, directory: Path) -> None:
        self.runs = directory / "runs"
        self.output = directory / "output"
        self.program = directory / "plugin.py"
        self.program.write_text(
            "import os, sys\n"
            f"open({str(self.runs)!r}, 'a').write("
            "os.environ['KUBERNETES_EXEC_INFO'] + os.environ['EXTRA'] + '\\n')\n"
            f"sys.stdout.write(open({str(self.output)!r}).read())\n"
        )

    def prints(self, status: object, *, version: str = V1) -> None:
        document = {"apiVersion": version, "kind": "ExecCredential", "status": status}
        self.output.write_bytes(orjson.dumps(document))

    def source(self, *, cluster=None, ssl_context=None) -> ExecPlugin:
        return ExecPlugin(
            command=sys.executable,
            args=(str(self.program),),
            env={"EXTRA": " extra"},
            api_version=V1,
            install_hint="",
            cluster=cluster,
            ssl_context=ssl_context,
        )

    @property
    def times_run(self) -> int:
        return len(self.runs.read_text().splitlines())


@pytest.fixture
def plugin(tmp_path):
    return Plugin(tmp_path)


async def test_plugin_is_told_the_protocol_and_the_cluster(plugin):
    plugin.prints({"token": "t"})
    source = plugin.source(cluster={"server": "https://k"})
    assert await source.authorization() == "Bearer t"
    info, _, extra = plugin.runs.read_text().strip().rpartition(" ")
    assert extra == "extra"
    assert orjson.loads(info) == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "spec": {"interactive": False, "cluster": {"server": "https://k"}},
    }


async def test_plugin_runs_once_for_all_that_ask(plugin):
    plugin.prints({"token": "t"})
    source = plugin.source()
    async with trio.open_nursery() as callers:
        for _ in range(5):
            callers.start_soon(source.authorization)
    assert plugin.times_run == 1


async def test_plugin_runs_again_when_its_credential_ends_or_is_refused(plugin, mock_clock):
    expiry = (utc_now() + timedelta(minutes=10)).isoformat()
    plugin.prints({"token": "one", "expirationTimestamp": expiry})
    source = plugin.source()
    assert await source.authorization() == "Bearer one"
    plugin.prints({"token": "two"})
    mock_clock.jump(9 * 60)
    assert await source.authorization() == "Bearer one"
    mock_clock.jump(55)
    assert await source.authorization() == "Bearer two"
    plugin.prints({"token": "three"})
    assert await source.authorization() == "Bearer two"
    source.refused()
    assert await source.authorization() == "Bearer three"


async def test_plugin_may_give_a_client_certificate(plugin):
    authority = trustme.CA()
    issued = authority.issue_cert("client")
    plugin.prints(
        {
            "clientCertificateData": issued.cert_chain_pems[0].bytes().decode(),
            "clientKeyData": issued.private_key_pem.bytes().decode(),
        }
    )
    context = ssl.create_default_context()
    assert await plugin.source(ssl_context=context).authorization() is None


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        ({}, "neither a token nor a client certificate"),
        ({"clientCertificateData": "x"}, "neither a token nor a client certificate"),
        ({"token": "t", "expirationTimestamp": "soon"}, "did not print an ExecCredential"),
        (None, "did not print an ExecCredential"),
        ("text", "did not print an ExecCredential"),
    ],
)
async def test_useless_plugin_output_is_explained(plugin, status, complaint):
    plugin.prints(status)
    with pytest.raises(ConfigError, match=complaint):
        await plugin.source().authorization()


async def test_plugin_of_another_version_is_explained(plugin):
    plugin.prints({"token": "t"}, version="client.authentication.k8s.io/v1beta1")
    with pytest.raises(ConfigError, match=r"answered as .*v1beta1, not as"):
        await plugin.source().authorization()


async def test_failing_plugin_is_explained(plugin):
    with pytest.raises(ConfigError, match=r"failed \(exit code 1\): .*output"):
        await plugin.source().authorization()


async def test_missing_plugin_is_explained():
    source = ExecPlugin(
        command="kraftlet-no-such-plugin",
        args=(),
        env={},
        api_version=V1,
        install_hint="Install it.",
        cluster=None,
        ssl_context=None,
    )
    with pytest.raises(ConfigError, match=r"is not installed\. Install it\."):
        await source.authorization()


async def test_hanging_plugin_is_ended(plugin, monkeypatch):
    monkeypatch.setattr(credentials, "EXEC_PLUGIN_SECONDS", 0.2)
    plugin.program.write_text("import time; time.sleep(100)")
    with trio.fail_after(5), pytest.raises(ConfigError, match="took over"):
        await plugin.source().authorization()


def test_key_of_another_certificate_is_refused():
    authority = trustme.CA()
    one, other = authority.issue_cert("one"), authority.issue_cert("other")
    with pytest.raises(ConfigError, match="cannot be used"):
        load_client_certificate(
            ssl.create_default_context(),
            one.cert_chain_pems[0].bytes(),
            other.private_key_pem.bytes(),
        )
