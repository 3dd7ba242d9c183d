"""``kraftlet-trio explain``: what manifests would become, before they are applied."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click
import orjson
import trio
import yaml
from rich.console import Console

from kraftlet_trio.explain.explainer import explain
from kraftlet_trio.explain.explanation import Explanation
from kraftlet_trio.explain.live import LiveError, explain_live
from kraftlet_trio.explain.manifests import Json, ManifestError, is_understood, read_manifests
from kraftlet_trio.explain.report import as_data, show
from kraftlet_trio.kubernetes.config import ConfigError
from kraftlet_trio.logs import configure_logs
from kraftlet_trio.settings import Settings, SettingsError, parse_settings

_REFUSED = 1
_UNUSABLE = 2
_OPTIONS = {
    "node_name": "Name of the node.  [kraftlet]",
    "node_internal_ip": "Address of the node, which Pods may ask for.",
    "naming": "Names of cloud resources: readable or hashed.  [readable]",
    "daemon_set_pods": "Pods of DaemonSets: ignore, refuse or run.  [ignore]",
}
_ELSEWHERE = {"ukc_default_metro": "fra", "ukc_token": "none"}
"""Settings that the daemon needs and that make no difference here."""


@click.command("explain")
@click.argument("target", required=False)
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    help="Manifests, YAML or JSON; - for standard input. May be given several times.",
)
@click.option("-n", "--namespace", default="", help="Of what names none.  [default]")
@click.option("-o", "--output", type=click.Choice(["table", "yaml", "json"]), default="table")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    help="For a live Pod.  [$KUBECONFIG, else ~/.kube/config]",
)
def explain_command(
    target: str | None,
    files: tuple[str, ...],
    namespace: str,
    output: str,
    kubeconfig: Path | None,
    **options: str | None,
) -> None:
    """Show what manifests would become on Unikraft Cloud, field by field with the reason.

    Of files, with no cluster and no cloud at hand (-f), or of a Pod that there is (pod/NAME). Exits
    with 1 where something would be refused, and with 2 where the input cannot be used. Values of
    Secrets are never shown.
    """
    configure_logs("error", json=False)
    try:
        settings = _settings(options)
        if target is not None:
            explanation = _of_live_pod(target, files, namespace, settings, kubeconfig)
        else:
            explanation = _of_files(files, namespace or "default", settings)
    except (SettingsError, ConfigError, ManifestError, LiveError) as error:
        click.echo(f"kraftlet-trio explain: {error}", err=True)
        sys.exit(_UNUSABLE)
    match output:
        case "json":
            click.echo(orjson.dumps(as_data(explanation), option=orjson.OPT_INDENT_2).decode())
        case "yaml":
            click.echo(yaml.safe_dump(as_data(explanation), sort_keys=False, allow_unicode=True))
        case _:
            show(explanation, Console())
    if explanation.is_refused:
        sys.exit(_REFUSED)


for _name, _help in reversed(_OPTIONS.items()):
    explain_command = click.option(
        f"--{_name.replace('_', '-')}", _name, envvar=f"KRAFTLET_{_name.upper()}", help=_help
    )(explain_command)


def _settings(options: Mapping[str, str | None]) -> Settings:
    given = {name: text for name, text in options.items() if text is not None}
    return parse_settings({**_ELSEWHERE, **given})


def _of_files(files: tuple[str, ...], namespace: str, settings: Settings) -> Explanation:
    if not files:
        raise ManifestError("nothing to explain; name a file with -f, or a Pod as pod/NAME")
    manifests: list[Json] = []
    for file in files:
        manifests += read_manifests(_text(file), file, namespace)
    for manifest in manifests:
        if not is_understood(manifest):
            name = f"{manifest['kind']} {manifest['metadata']['name']}"
            click.echo(f"{name} has no part in what Pods become: left out", err=True)
    return trio.run(explain, manifests, settings)


def _text(file: str) -> str:
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{file} cannot be read: {error}") from error


def _of_live_pod(
    target: str,
    files: tuple[str, ...],
    namespace: str,
    settings: Settings,
    kubeconfig: Path | None,
) -> Explanation:
    kind, slash, name = target.partition("/")
    if kind not in ("pod", "pods", "po") or not slash or not name:
        raise ManifestError(f"{target!r} is nothing to explain; write pod/NAME, or -f FILE")
    if files:
        raise ManifestError("either -f or pod/NAME can be explained, not both at once")
    return trio.run(explain_live, name, namespace, settings, kubeconfig)
