"""Which cluster, and as whom: from a kubeconfig or from inside a Pod."""

from __future__ import annotations

import binascii
import os
import ssl
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import yaml

from kraftlet_trio.kubernetes.credentials import (
    EXEC_API_VERSIONS,
    BasicAuth,
    ConfigError,
    ExecPlugin,
    StaticToken,
    TokenFile,
    TokenSource,
    load_client_certificate,
    reason_of,
)

__all__ = ["ClusterAccess", "ConfigError", "in_cluster", "load_kubeconfig"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@attrs.frozen(kw_only=True)
class ClusterAccess:
    """What a client needs to reach one API server."""

    server: str
    """``https://host:port``, perhaps with a path before ``/api``; no slash at its end."""
    ssl_context: ssl.SSLContext | None = None
    """None only where *server* is ``http://``."""
    token: TokenSource | None = None
    namespace: str = "default"
    tls_server_name: str = ""
    """The name to expect in the server's certificate, where it is not the host of *server*."""


def load_kubeconfig(path: Path | None = None, context: str | None = None) -> ClusterAccess:
    """Access as a kubeconfig describes it.

    Without *path*: the files of ``$KUBECONFIG``, merged as kubectl does, else ``~/.kube/config``.
    Without *context*: the current one. Raises ``ConfigError``.
    """
    entries = _read_files(_kubeconfig_paths(path))
    context = context or entries.current_context
    if not context:
        raise ConfigError(
            f"no current context in kubeconfig {entries.origin}; name one with --context"
        )
    if (chosen := entries.contexts.get(context)) is None:
        known = ", ".join(sorted(entries.contexts)) or "none"
        raise ConfigError(f"no context {context!r} in kubeconfig {entries.origin} (there: {known})")
    cluster_name, user_name = chosen.text("cluster"), chosen.text("user")
    if (cluster := entries.clusters.get(cluster_name)) is None:
        raise ConfigError(
            f"context {context!r} names cluster {cluster_name!r},"
            f" which kubeconfig {entries.origin} does not have"
        )
    if user_name and user_name not in entries.users:
        raise ConfigError(
            f"context {context!r} names user {user_name!r},"
            f" which kubeconfig {entries.origin} does not have"
        )
    user = entries.users.get(user_name, _Entry("user", user_name, {}, cluster.directory))
    server = cluster.text("server").rstrip("/")
    if not server.startswith(("http://", "https://")):
        raise ConfigError(f"{cluster} has no server that begins with https:// or http://")
    tls = _ssl_context(cluster) if server.startswith("https://") else None
    if tls is not None:
        _present_certificate(tls, user)
    return ClusterAccess(
        server=server,
        ssl_context=tls,
        token=_token_source(user, cluster, tls),
        namespace=chosen.text("namespace") or "default",
        tls_server_name=cluster.text("tls-server-name"),
    )


def in_cluster(
    directory: Path = SERVICE_ACCOUNT, environ: Mapping[str, str] | None = None
) -> ClusterAccess:
    """Access as the Pod's ServiceAccount. Raises ``ConfigError`` outside a cluster."""
    environ = os.environ if environ is None else environ
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise ConfigError(
            "not inside a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not"
            " set; set KUBECONFIG or --kubeconfig"
        )
    token_path, ca_path = directory / "token", directory / "ca.crt"
    if not token_path.exists():
        raise ConfigError(
            f"no ServiceAccount token at {token_path}; let the Pod mount it"
            " (automountServiceAccountToken) or set --kubeconfig"
        )
    try:
        namespace = (directory / "namespace").read_text("utf-8").strip()
    except OSError:
        namespace = "default"
    return ClusterAccess(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ssl_context=_trusting(_read_file(ca_path), origin=str(ca_path)),
        token=TokenFile(token_path),
        namespace=namespace or "default",
    )


@attrs.frozen
class _Entry:
    """A named cluster, user or context, and where its relative paths start."""

    kind: str
    name: str
    values: Mapping[str, Any] = attrs.field(repr=False)
    directory: Path

    def __str__(self) -> str:
        return f"kubeconfig {self.kind} {self.name!r}"

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{key} of {self} is not a string")
        return value or ""

    def data_or_file(self, key: str) -> tuple[bytes, str] | None:
        """Bytes of ``<key>-data``, else of the file ``<key>`` names; and their origin."""
        if data := self.text(f"{key}-data"):
            try:
                return b64decode(data, validate=True), f"{key}-data of {self}"
            except binascii.Error as error:
                raise ConfigError(f"{key}-data of {self} is not base64") from error
        if path := self.text(key):
            return _read_file(self.directory / path), str(self.directory / path)
        return None


@attrs.frozen
class _Entries:
    origin: str
    """For messages: the files read."""
    current_context: str
    clusters: Mapping[str, _Entry]
    users: Mapping[str, _Entry]
    contexts: Mapping[str, _Entry]


def _kubeconfig_paths(path: Path | None) -> list[Path]:
    if path is not None:
        if not path.exists():
            raise ConfigError(
                f"cannot read kubeconfig {path}: no such file; set KUBECONFIG or --kubeconfig"
            )
        return [path]
    named = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    candidates = named or [Path.home() / ".kube" / "config"]
    # As kubectl: of several files some may be missing.
    if not (present := [candidate for candidate in candidates if candidate.exists()]):
        looked = ", ".join(map(str, candidates))
        raise ConfigError(
            f"cannot read kubeconfig {looked}: no such file; set KUBECONFIG or --kubeconfig"
        )
    return present


def _read_files(paths: list[Path]) -> _Entries:
    """Merge the files: for each name, and for the current context, the first one counts."""
    found: dict[str, dict[str, _Entry]] = {"cluster": {}, "user": {}, "context": {}}
    current = ""
    for path in paths:
        document = _parse(path)
        current = current or str(document.get("current-context") or "")
        for kind, entries in found.items():
            for item in document.get(f"{kind}s") or ():
                if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                    raise ConfigError(f"kubeconfig {path}: each of {kind}s needs a name")
                values = item.get(kind) or {}
                if not isinstance(values, dict):
                    raise ConfigError(f"kubeconfig {path}: {kind} {item['name']!r} is not a map")
                entries.setdefault(
                    item["name"], _Entry(kind, item["name"], values, path.absolute().parent)
                )
    return _Entries(
        ", ".join(map(str, paths)), current, found["cluster"], found["user"], found["context"]
    )


def _parse(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read kubeconfig {path}: {reason_of(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"kubeconfig {path} is not YAML: {error}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"kubeconfig {path} is not a map")
    return document


def _ssl_context(cluster: _Entry) -> ssl.SSLContext:
    if cluster.values.get("insecure-skip-tls-verify"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if authority := cluster.data_or_file("certificate-authority"):
        return _trusting(authority[0], origin=authority[1])
    return _lenient(ssl.create_default_context())


def _trusting(authority: bytes, *, origin: str) -> ssl.SSLContext:
    try:
        return _lenient(ssl.create_default_context(cadata=authority.decode("ascii")))
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"{origin} holds no certificate authority in PEM") from error


def _lenient(context: ssl.SSLContext) -> ssl.SSLContext:
    # Many clusters' authorities lack the key identifiers that Python 3.13 began to insist on.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _present_certificate(context: ssl.SSLContext, user: _Entry) -> None:
    certificate, key = user.data_or_file("client-certificate"), user.data_or_file("client-key")
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise ConfigError(f"{user} needs client-certificate and client-key, or neither")
    try:
        load_client_certificate(context, certificate[0], key[0])
    except ConfigError as error:
        raise ConfigError(f"{user}: {error}") from error


def _token_source(
    user: _Entry, cluster: _Entry, context: ssl.SSLContext | None
) -> TokenSource | None:
    # The order of client-go: a token file wins over a token, both over a plugin.
    if path := user.text("tokenFile"):
        return TokenFile(user.directory / path)
    if token := user.text("token"):
        return StaticToken(token)
    if username := user.text("username"):
        return BasicAuth(username, user.text("password"))
    if isinstance(plugin := user.values.get("exec"), dict):
        described = _Entry("exec of user", user.name, plugin, user.directory)
        return _exec_plugin(described, cluster, context)
    if "auth-provider" in user.values:
        raise ConfigError(f"{user} uses auth-provider, which Kubernetes removed in 1.26; use exec")
    return None


def _exec_plugin(plugin: _Entry, cluster: _Entry, context: ssl.SSLContext | None) -> ExecPlugin:
    api_version = plugin.text("apiVersion")
    if api_version not in EXEC_API_VERSIONS:
        raise ConfigError(
            f"{plugin} has apiVersion {api_version!r}; known are {', '.join(EXEC_API_VERSIONS)}"
        )
    if plugin.text("interactiveMode") == "Always":
        raise ConfigError(f"{plugin} wants a terminal (interactiveMode Always); a daemon has none")
    command = plugin.text("command")
    if not command:
        raise ConfigError(f"{plugin} has no command")
    if os.sep in command:
        command = str(plugin.directory / command)
    try:
        env = {item["name"]: item["value"] for item in plugin.values.get("env") or ()}
        args = tuple(map(str, plugin.values.get("args") or ()))
    except (TypeError, KeyError) as error:
        raise ConfigError(f"{plugin} needs args as a list, env as names with values") from error
    return ExecPlugin(
        command=command,
        args=args,
        env=env,
        api_version=api_version,
        install_hint=" ".join(plugin.text("installHint").split()),
        cluster=_plugin_cluster(cluster) if plugin.values.get("provideClusterInfo") else None,
        ssl_context=context,
    )


def _plugin_cluster(cluster: _Entry) -> dict[str, Any]:
    """``spec.cluster`` of an ExecCredential."""
    keys = ("server", "tls-server-name", "insecure-skip-tls-verify")
    described = {key: cluster.values[key] for key in keys if key in cluster.values}
    if authority := cluster.data_or_file("certificate-authority"):
        described["certificate-authority-data"] = b64encode(authority[0]).decode()
    for extension in cluster.values.get("extensions") or ():
        if extension.get("name") == "client.authentication.k8s.io/exec":
            described["config"] = extension.get("extension")
    return described


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {reason_of(error)}") from error
