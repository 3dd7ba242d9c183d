import ssl
from base64 import b64encode
from pathlib import Path

import pytest
import trustme
import yaml

from kraftlet_trio.kubernetes.config import ConfigError, in_cluster, load_kubeconfig
from kraftlet_trio.kubernetes.credentials import (
    BasicAuth,
    ExecPlugin,
    StaticToken,
    TokenFile,
)

AUTHORITY = trustme.CA()
CA_PEM = AUTHORITY.cert_pem.bytes()
CLIENT = AUTHORITY.issue_cert("client")
CLIENT_PEM, CLIENT_KEY = CLIENT.cert_chain_pems[0].bytes(), CLIENT.private_key_pem.bytes()
V1 = "client.authentication.k8s.io/v1"


def encoded(data: bytes) -> str:
    return b64encode(data).decode()


@pytest.fixture
def kubeconfig(tmp_path):
    """Writes a kubeconfig of one context, with parts replaced."""

    def write(
        *, cluster=None, user=None, context=None, name="config", current="here", title="k"
    ) -> Path:
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": current,
            "clusters": [
                {"name": title, "cluster": {"server": "https://host:6443", **(cluster or {})}}
            ],
            "users": [{"name": title, "user": user or {}}],
            "contexts": [
                {
                    "name": "here" if title == "k" else title,
                    "context": {"cluster": title, "user": title, **(context or {})},
                }
            ],
        }
        path = tmp_path / name
        path.write_text(yaml.safe_dump(document))
        return path

    return write


def test_plain_cluster_trusts_the_system(kubeconfig):
    access = load_kubeconfig(kubeconfig(cluster={"server": "https://host:6443/prefix/"}))
    assert access.server == "https://host:6443/prefix"
    assert access.ssl_context.verify_mode == ssl.CERT_REQUIRED
    assert access.token is None
    assert access.namespace == "default"


def test_http_needs_no_tls(kubeconfig):
    access = load_kubeconfig(kubeconfig(cluster={"server": "http://localhost:8080"}))
    assert access.ssl_context is None


@pytest.mark.parametrize("form", ["data", "file"])
def test_authority_is_taken_from_data_or_file(kubeconfig, tmp_path, form):
    (tmp_path / "ca.crt").write_bytes(CA_PEM)
    cluster = {
        "data": {"certificate-authority-data": encoded(CA_PEM)},
        "file": {"certificate-authority": "ca.crt"},  # relative to the kubeconfig
    }[form]
    context = load_kubeconfig(kubeconfig(cluster=cluster)).ssl_context
    assert len(context.get_ca_certs()) == 1
    assert context.check_hostname


def test_verification_can_be_left_out(kubeconfig):
    context = load_kubeconfig(kubeconfig(cluster={"insecure-skip-tls-verify": True})).ssl_context
    assert context.verify_mode == ssl.CERT_NONE
    assert not context.check_hostname


def test_namespace_and_server_name_are_taken(kubeconfig):
    access = load_kubeconfig(
        kubeconfig(cluster={"tls-server-name": "kubernetes"}, context={"namespace": "apps"})
    )
    assert (access.namespace, access.tls_server_name) == ("apps", "kubernetes")


def test_token_file_wins_over_token(kubeconfig, tmp_path):
    access = load_kubeconfig(kubeconfig(user={"tokenFile": "token", "token": "t"}))
    assert access.token == TokenFile(tmp_path / "token")
    assert load_kubeconfig(kubeconfig(user={"token": "t"})).token == StaticToken("t")


def test_user_name_and_password(kubeconfig):
    access = load_kubeconfig(kubeconfig(user={"username": "me", "password": "pw"}))
    assert access.token == BasicAuth("me", "pw")


def test_client_certificate_is_presented(kubeconfig, tmp_path):
    (tmp_path / "client.crt").write_bytes(CLIENT_PEM)
    load_kubeconfig(
        kubeconfig(
            user={"client-certificate": "client.crt", "client-key-data": encoded(CLIENT_KEY)}
        )
    )
    with pytest.raises(ConfigError, match="user 'k' needs client-certificate and client-key"):
        load_kubeconfig(kubeconfig(user={"client-certificate-data": encoded(CLIENT_PEM)}))
    with pytest.raises(ConfigError, match="user 'k': the client certificate and its key cannot"):
        load_kubeconfig(
            kubeconfig(
                user={
                    "client-certificate-data": encoded(CLIENT_PEM),
                    "client-key-data": encoded(b"garbage"),
                }
            )
        )


def test_exec_plugin_is_read(kubeconfig):
    plugin = {
        "apiVersion": V1,
        "command": "aws",
        "args": ["eks", "get-token"],
        "env": [{"name": "A", "value": "b"}],
        "installHint": "Install\nit",
        "provideClusterInfo": True,
        "interactiveMode": "IfAvailable",
    }
    cluster = {
        "certificate-authority-data": encoded(CA_PEM),
        "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"x": 1}}],
    }
    source = load_kubeconfig(kubeconfig(cluster=cluster, user={"exec": plugin})).token
    assert isinstance(source, ExecPlugin)
    assert (source.command, source.args, source.env) == ("aws", ("eks", "get-token"), {"A": "b"})
    assert source.install_hint == "Install it"
    assert source.cluster == {
        "server": "https://host:6443",
        "certificate-authority-data": encoded(CA_PEM),
        "config": {"x": 1},
    }


def test_plugin_path_is_relative_to_the_kubeconfig(kubeconfig, tmp_path):
    plugin = {"apiVersion": V1, "command": "./login"}
    source = load_kubeconfig(kubeconfig(user={"exec": plugin})).token
    assert Path(source.command) == tmp_path / "login"
    assert source.cluster is None


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        ({"user": {"exec": {"apiVersion": "v1alpha1", "command": "x"}}}, "known are"),
        ({"user": {"exec": {"apiVersion": V1}}}, "has no command"),
        (
            {"user": {"exec": {"apiVersion": V1, "command": "x", "interactiveMode": "Always"}}},
            "wants a terminal",
        ),
        ({"user": {"exec": {"apiVersion": V1, "command": "x", "env": ["A=b"]}}}, "needs args"),
        ({"user": {"auth-provider": {"name": "gcp"}}}, "use exec"),
        ({"user": {"token": 5}}, "token of kubeconfig user 'k' is not a string"),
        ({"cluster": {"server": "host:6443"}}, "no server that begins with https"),
        ({"cluster": {"certificate-authority-data": "%"}}, "is not base64"),
        ({"cluster": {"certificate-authority-data": "eA=="}}, "no certificate authority"),
        ({"cluster": {"certificate-authority": "gone.crt"}}, "gone.crt: no such file"),
        ({"context": {"cluster": "x"}}, "names cluster 'x', which kubeconfig .* does not have"),
        ({"context": {"user": "x"}}, "names user 'x', which kubeconfig .* does not have"),
        ({"current": ""}, "no current context in kubeconfig .*; name one with --context"),
        ({"current": "there"}, r"no context 'there' in kubeconfig .* \(there: here\)"),
    ],
)
def test_fault_is_told_in_a_sentence(kubeconfig, part, complaint):
    with pytest.raises(ConfigError, match=complaint):
        load_kubeconfig(kubeconfig(**part))


@pytest.mark.parametrize("text", ["[]", "{", "clusters: [x]", "clusters: [{name: x, cluster: y}]"])
def test_other_shape_is_told_with_the_file(tmp_path, text):
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ConfigError, match=str(path)):
        load_kubeconfig(path)


def test_missing_file_is_told_with_the_cure(tmp_path, monkeypatch):
    cure = "no such file; set KUBECONFIG or --kubeconfig"
    with pytest.raises(ConfigError, match=f"cannot read kubeconfig {tmp_path}/x: {cure}"):
        load_kubeconfig(tmp_path / "x")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(ConfigError, match=f"{tmp_path}/.kube/config: {cure}"):
        load_kubeconfig()


def test_another_context_can_be_chosen(kubeconfig):
    assert load_kubeconfig(kubeconfig(current="there"), "here").server == "https://host:6443"


def test_files_of_the_environment_are_merged(kubeconfig, tmp_path, monkeypatch):
    first = kubeconfig(name="first", cluster={"server": "https://first"})
    second = kubeconfig(name="second", cluster={"server": "https://second"})
    third = kubeconfig(name="third", title="other", cluster={"server": "https://third"})
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path}/missing:{second}:{third}")
    assert load_kubeconfig().server == "https://first"
    assert load_kubeconfig(context="other").server == "https://third"


@pytest.fixture
def service_account(tmp_path):
    (tmp_path / "token").write_text("t")
    (tmp_path / "ca.crt").write_bytes(CA_PEM)
    (tmp_path / "namespace").write_text("kraftlet\n")
    return tmp_path


@pytest.mark.parametrize(
    ("host", "server"),
    [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")],
)
async def test_service_account_is_found(service_account, host, server):
    access = in_cluster(
        service_account, {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}
    )
    assert access.server == server
    assert access.namespace == "kraftlet"
    assert await access.token.authorization() == "Bearer t"
    assert len(access.ssl_context.get_ca_certs()) == 1


def test_outside_a_cluster_the_cure_is_told(service_account):
    with pytest.raises(ConfigError, match=r"not inside a cluster: .*set KUBECONFIG"):
        in_cluster(service_account, {})
    (service_account / "token").unlink()
    env = {"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(ConfigError, match="automountServiceAccountToken"):
        in_cluster(service_account, env)
