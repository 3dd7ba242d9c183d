"""Settings from texts: what each means, and that every fault is named with its cure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from kraftlet_trio import cli
from kraftlet_trio.cli import main, run
from kraftlet_trio.cloud.objects import ScaleToZero
from kraftlet_trio.mapping.annotations import PodDefaults
from kraftlet_trio.node.settings import CapacityCaps
from kraftlet_trio.settings import SettingsError, parse_settings

REQUIRED = {"ukc_default_metro": "fra", "ukc_token": "t0ken"}
DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


def test_metro_and_token_are_all_it_needs():
    settings = parse_settings(REQUIRED)
    assert settings.cloud.url == "https://api.fra.unikraft.cloud"
    assert settings.node.name == "kraftlet"
    assert settings.node.provider_id == "unikraft://kraftlet"
    assert settings.node.taint is not None
    assert settings.node.taint.key == "virtual-kubelet.io/provider"
    assert settings.claims is not None
    assert settings.pods.finalizer == "cloud.unikraft.v1/resources"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tls_cert_file": __file__, "tls_key_file": __file__}, "both in PEM"),
        (
            {"rotate_server_certificates": "true", "node_name": "a" * 53},
            "a name of at most 52 characters",
        ),
        (
            {"rotate_server_certificates": "true", "tls_cert_file": __file__},
            "--rotate-server-certificates and --tls-cert-file",
        ),
        ({"client_ca_file": __file__}, "holds no certificates in PEM"),
        ({"client_ca_file": "/does/not/exist"}, "there is no file /does/not/exist"),
        ({"health_addr": "here"}, "'here' is no address"),
    ],
)
def test_faulty_ports_are_told(options, said):
    with pytest.raises(SettingsError, match=re.escape(said)):
        parse_settings({**REQUIRED, **options})


def test_all_faults_are_told_at_once():
    with pytest.raises(SettingsError) as caught:
        parse_settings(
            {
                "node_name": "Not_A_Name",
                "addr": "nowhere",
                "naming": "fancy",
                "pod_status_update_interval": "soon",
                "enable_node_taint": "perhaps",
                "node_labels": "no-equals-sign",
                "ukc_ca_file": "/does/not/exist",
                "tls_cert_file": __file__,
            }
        )
    text = str(caught.value)
    for said in (
        "KRAFTLET_UKC_DEFAULT_METRO",
        "KRAFTLET_UKC_TOKEN",
        "'Not_A_Name'",
        "'nowhere'",
        "'fancy'",
        "'soon'",
        "'perhaps'",
        "'no-equals-sign'",
        "/does/not/exist",
        "--tls-key-file",
    ):
        assert said in text
    assert len(text.splitlines()) == 10


def test_caps_of_a_node():
    caps = {"node_cpu": "8", "node_memory": "16Gi", "node_pods": "20"}
    assert parse_settings({**REQUIRED, **caps}).node.caps == CapacityCaps(
        cpu=8, memory_mib=16384, pods=20
    )
    assert parse_settings(REQUIRED).node.caps == CapacityCaps()


@pytest.mark.parametrize("option", ["node_cpu", "node_memory", "node_pods"])
@pytest.mark.parametrize("text", ["0", "-1", "lots"])
def test_faulty_caps_are_told(option, text):
    with pytest.raises(SettingsError, match=f"--{option.replace('_', '-')}"):
        parse_settings({**REQUIRED, option: text})


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5.0), ("500ms", 0.5), ("1m30s", 90.0), ("1.5h", 5400.0)]
)
def test_durations(text, seconds):
    settings = parse_settings({**REQUIRED, "pod_status_update_interval": text})
    assert settings.status_interval_seconds == seconds


@pytest.mark.parametrize("text", ["", " ", "5", "s", "5 s", "-5s", "0s", "5s5"])
def test_what_is_no_duration_is_refused(text):
    if text == "":
        assert parse_settings({**REQUIRED, "pod_status_update_interval": text})
        return
    with pytest.raises(SettingsError):
        parse_settings({**REQUIRED, "pod_status_update_interval": text})


def test_labels_come_separated_by_semicolons():
    settings = parse_settings({**REQUIRED, "node_labels": "a=b; c.d/e=f=g ;"})
    assert dict(settings.node.labels) == {"a": "b", "c.d/e": "f=g"}


def test_taint_watcher_and_finalizer_can_be_switched_off():
    settings = parse_settings(
        {
            **REQUIRED,
            "enable_node_taint": "false",
            "enable_pvc_watcher": "0",
            "pod_finalizer": "",
        }
    )
    assert settings.node.taint is None
    assert settings.claims is None
    assert settings.pods.finalizer == ""


def test_defaults_of_pods():
    usual = parse_settings(REQUIRED).pods.defaults
    assert usual == PodDefaults()
    assert (usual.memory_mb, usual.vcpus) == (128, 1)
    assert usual.scale_to_zero == ScaleToZero(policy="on", stateful=False, cooldown_time_ms=1000)
    chosen = parse_settings(
        {
            **REQUIRED,
            "default_memory": "1Gi",
            "default_vcpus": "1500m",
            "scale_to_zero_policy": "idle",
            "scale_to_zero_stateful": "true",
            "scale_to_zero_cooldown": "10m",
            "enable_exec": "true",
            "exec_plugin_image": "mine/sandbox:1",
            "enable_instance_fqdn_annotations": "true",
        }
    ).pods.defaults
    assert chosen == PodDefaults(
        memory_mb=1024,
        vcpus=2,
        scale_to_zero=ScaleToZero(policy="idle", stateful=True, cooldown_time_ms=600_000),
        exec_plugin_image="mine/sandbox:1",
        enable_exec=True,
        fqdn_annotations=True,
    )


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("default_memory", "0"),
        ("default_memory", "-1Mi"),
        ("default_memory", "much"),
        ("default_vcpus", "0"),
        ("scale_to_zero_policy", "sometimes"),
        ("scale_to_zero_cooldown", "1000"),
        ("scale_to_zero_cooldown", "1000h"),
    ],
)
def test_defaults_of_pods_that_cannot_be_are_refused(option, text):
    with pytest.raises(SettingsError, match=f"KRAFTLET_{option.upper()}"):
        parse_settings({**REQUIRED, option: text})


def test_the_token_is_in_no_repr():
    assert "t0ken" not in repr(parse_settings(REQUIRED))


def test_every_setting_is_documented_and_nothing_else():
    flags = {
        option
        for parameter in run.params
        for option in parameter.opts
        if option.startswith("--") and option != "--help"
    }
    assert set(re.findall(r"^\| `(--[a-z-]+)`", DOCS.read_text(), re.MULTILINE)) == flags


def test_faulty_settings_end_with_exit_code_1_and_a_text():
    result = CliRunner().invoke(main, ["run"], env={"KRAFTLET_UKC_TOKEN": "t"})
    assert result.exit_code == 1
    assert "KRAFTLET_UKC_DEFAULT_METRO" in result.stderr


def test_a_variable_set_to_nothing_switches_the_finalizer_off(monkeypatch):
    parsed = []
    monkeypatch.setattr(cli, "parse_settings", lambda texts: parsed.append(texts) or stop())
    CliRunner().invoke(main, ["run"], env={"KRAFTLET_POD_FINALIZER": "", "KRAFTLET_UKC_TOKEN": "t"})
    assert parsed[0]["pod_finalizer"] == ""
    assert parse_settings({**REQUIRED, **parsed[0]}).pods.finalizer == ""


def stop():
    raise SettingsError("that will do")


def test_unreadable_kubeconfig_ends_with_exit_code_1_and_a_text(tmp_path):
    missing = tmp_path / "kubeconfig"
    result = CliRunner().invoke(
        main,
        ["run", "--kubeconfig", str(missing), "--ukc-default-metro=fra", "--ukc-token=t"],
    )
    assert result.exit_code == 1
    assert str(missing) in result.stderr


def test_registries_are_read_with_the_platforms_authorities_and_for_the_nodes_architecture():
    registries = parse_settings(
        {
            **REQUIRED,
            "ukc_ca_file": __file__,
            "node_architecture": "arm64",
            "insecure_registries": "registry.test:5000; 10.0.0.1 ;localhost",
        }
    ).registries
    assert registries is not None
    assert registries.ca_file == Path(__file__)
    assert registries.architecture == "arm64"
    assert registries.plain_hosts == {"registry.test:5000", "10.0.0.1", "localhost"}


def test_registries_need_not_be_read():
    assert parse_settings({**REQUIRED, "read_registries": "no"}).registries is None


@pytest.mark.parametrize("text", ["registry", "https://registry.test", "registry.test/team", "a b"])
def test_what_is_no_registry_is_told(text):
    with pytest.raises(SettingsError, match=r"KRAFTLET_INSECURE_REGISTRIES.*is no registry"):
        parse_settings({**REQUIRED, "insecure_registries": text})
