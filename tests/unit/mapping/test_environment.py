import base64

import attrs
import pytest

from kraftlet_trio.kubernetes.objects import ConfigMap, ObjectMeta, Secret
from kraftlet_trio.kubernetes.pod import (
    Container,
    EnvFromReference,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    KeySelector,
    Pod,
    PodSpec,
    ResourceRequirements,
    VolumeMount,
)
from kraftlet_trio.kubernetes.pod_volumes import ObjectFieldSelector, ResourceFieldSelector
from kraftlet_trio.mapping.downward import Fields, field_value
from kraftlet_trio.mapping.environment import (
    expand,
    needs_pod_ip,
    references,
    resolve,
    sub_path_of,
)
from kraftlet_trio.mapping.problems import ConfigurationProblem


def secret(**values: bytes) -> Secret:
    return Secret(data={key: base64.b64encode(raw).decode() for key, raw in values.items()})


CONFIG_MAPS = {
    "settings": ConfigMap(data={"mode": "prod", "with space": "x", "..up": "y", ".": "z"})
}
SECRETS = {"login": secret(password=b"s3cr3t", picture=b"\xff", zero=b"\0")}

POD = Pod(
    metadata=ObjectMeta(
        name="web-0",
        namespace="team-a",
        uid="u-1",
        labels={"app": "web", "example.com/tier": 'a"b'},
        annotations={"note": "two\nlines"},
    ),
    spec=PodSpec(
        service_account_name="robot",
        containers=(
            Container(name="app"),
            Container(name="unlimited", resources=ResourceRequirements(limits={"memory": "0"})),
            Container(
                name="side",
                resources=ResourceRequirements(
                    limits={"cpu": "1500m", "memory": "100M"}, requests={"memory": "1Mi"}
                ),
            ),
        ),
    ),
)


def environment(
    *env: EnvVar,
    env_from: tuple[EnvFromSource, ...] = (),
    host_ip="192.0.2.1",
    pod_ip=None,
    services=None,
):
    return resolve(
        Container(name="app", env=env, env_from=env_from),
        Fields(pod=POD, node_name="kraftlet", host_ip=host_ip, pod_ip=pod_ip),
        config_maps=CONFIG_MAPS,
        secrets=SECRETS,
        services=services or {},
    )


def field(path: str) -> EnvVar:
    return EnvVar(name="X", value_from=EnvVarSource(field_ref=ObjectFieldSelector(field_path=path)))


def resource(name: str, *, container: str = "side", divisor: str = "") -> EnvVar:
    selector = ResourceFieldSelector(container_name=container, resource=name, divisor=divisor)
    return EnvVar(name="X", value_from=EnvVarSource(resource_field_ref=selector))


def from_config_map(name: str, key: str, *, optional: bool = False) -> EnvVar:
    selector = KeySelector(name=name, key=key, optional=optional)
    return EnvVar(name="X", value_from=EnvVarSource(config_map_key_ref=selector))


def from_secret(name: str, key: str, *, optional: bool = False) -> EnvVar:
    selector = KeySelector(name=name, key=key, optional=optional)
    return EnvVar(name="X", value_from=EnvVarSource(secret_key_ref=selector))


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "a"),
        ("$(A)$(A)-$(EMPTY)", "aa-"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$a"),
        ("$$$$(A)", "$$(A)"),
        ("$(nobody)", "$(nobody)"),
        ("$A ${A}", "$A ${A}"),
        ("$(A", "$(A"),
        ("$(A$$", "$(A$"),
        ("$($(A)", "$($(A)"),
        ("$()", "$()"),
        ("$", "$"),
        ("x$", "x$"),
        ("", ""),
        (")$$(", ")$("),
        ("$(CHAIN)", "$(A)"),
    ],
)
def test_expansion(text, expanded):
    assert expand(text, {"A": "a", "EMPTY": "", "CHAIN": "$(A)"}) == expanded


def test_expansion_of_a_megabyte_of_open_references_is_quick():
    text = "$(" * 500_000
    assert expand(text, {}) == text
    assert expand(text + ")", {}) == text + ")"


def test_variables_see_those_before_them():
    env = environment(
        EnvVar(name="A", value="1"),
        EnvVar(name="B", value="$(A)2"),
        EnvVar(name="C", value="$(B)$(D)"),
        EnvVar(name="D", value="4"),
    )
    assert env.variables == {"A": "1", "B": "12", "C": "12$(D)", "D": "4"}


def test_doubling_references_end_in_a_problem_not_in_memory():
    variables = [EnvVar(name="V0", value="x" * 64)]
    variables += [EnvVar(name=f"V{n + 1}", value=f"$(V{n})$(V{n})") for n in range(60)]
    with pytest.raises(ConfigurationProblem) as caught:
        environment(*variables)
    assert caught.value.reason == "EnvironmentTooLarge"


def test_env_goes_before_env_from_and_may_refer_to_it():
    env = environment(
        EnvVar(name="P_mode", value="$(P_mode)+"),
        env_from=(
            EnvFromSource(prefix="P_", config_map_ref=EnvFromReference(name="settings")),
            EnvFromSource(secret_ref=EnvFromReference(name="login")),
        ),
    )
    assert env.variables == {"P_mode": "prod+", "P_..up": "y", "P_.": "z", "password": "s3cr3t"}


def test_what_env_from_cannot_take_is_skipped_with_a_warning():
    env = environment(
        env_from=(
            EnvFromSource(config_map_ref=EnvFromReference(name="settings")),
            EnvFromSource(secret_ref=EnvFromReference(name="login")),
        )
    )
    assert env.variables == {"mode": "prod", "password": "s3cr3t"}
    assert [warning.reason for warning in env.warnings] == ["InvalidEnvironmentVariableNames"] * 2
    assert "., ..up, with space" in env.warnings[0].message
    assert "Secret team-a/login" in env.warnings[1].message


def test_keys_of_config_maps_and_secrets():
    assert environment(from_config_map("settings", "mode")).variables == {"X": "prod"}
    assert environment(from_secret("login", "password")).variables == {"X": "s3cr3t"}


def test_a_value_goes_before_its_source_unless_it_is_empty():
    source = field("metadata.name").value_from
    env = environment(
        EnvVar(name="A", value="1", value_from=source), EnvVar(name="B", value_from=source)
    )
    assert env.variables == {"A": "1", "B": "web-0"}


def test_a_variable_without_a_source_that_is_known_is_a_problem():
    with pytest.raises(ConfigurationProblem, match='"X" of container app') as caught:
        environment(EnvVar(name="X", value_from=EnvVarSource()))
    assert caught.value.reason == "UnsupportedEnvironmentSource"


@pytest.mark.parametrize(
    ("variable", "reason", "message"),
    [
        (
            from_config_map("settings", "k"),
            "MandatoryConfigMapKeyNotFound",
            "couldn't find key k in ConfigMap team-a/settings",
        ),
        (from_config_map("gone", "k"), "MandatoryConfigMapNotFound", 'configmap "gone" not found'),
        (
            from_secret("login", "k"),
            "MandatorySecretKeyNotFound",
            "couldn't find key k in Secret team-a/login",
        ),
        (from_secret("gone", "k"), "MandatorySecretNotFound", 'secret "gone" not found'),
        (
            from_secret("login", "picture"),
            "FailedToReadMandatorySecret",
            "key picture in Secret team-a/login is not text",
        ),
        (
            from_secret("login", "zero"),
            "FailedToReadMandatorySecret",
            "key zero in Secret team-a/login is not text",
        ),
    ],
)
def test_what_is_required_and_missing_is_a_problem(variable, reason, message):
    with pytest.raises(ConfigurationProblem) as caught:
        environment(variable)
    assert caught.value.reason == reason
    assert caught.value.message.startswith(message)
    assert "; " in caught.value.message


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        (from_config_map("settings", "k", optional=True), "OptionalConfigMapKeyNotFound"),
        (from_config_map("gone", "k", optional=True), "OptionalConfigMapNotFound"),
        (from_secret("login", "k", optional=True), "OptionalSecretKeyNotFound"),
        (from_secret("gone", "k", optional=True), "OptionalSecretNotFound"),
    ],
)
def test_what_is_optional_and_missing_is_left_out_with_a_warning(variable, reason):
    env = environment(variable, EnvVar(name="Y", value="$(X)"))
    assert env.variables == {"Y": "$(X)"}
    assert [warning.reason for warning in env.warnings] == [reason]


def test_env_from_of_a_missing_object():
    missing = EnvFromSource(config_map_ref=EnvFromReference(name="gone", optional=True))
    assert environment(env_from=(missing,)).warnings[0].reason == "OptionalConfigMapNotFound"
    with pytest.raises(ConfigurationProblem, match='secret "gone" not found'):
        environment(env_from=(EnvFromSource(secret_ref=EnvFromReference(name="gone")),))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-0"),
        ("metadata.namespace", "team-a"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels['nobody']", ""),
        ("metadata.annotations['note']", "two\nlines"),
        ("metadata.labels", 'app="web"\nexample.com/tier="a\\"b"'),
        ("metadata.annotations", 'note="two\\nlines"'),
        ("spec.nodeName", "kraftlet"),
        ("spec.serviceAccountName", "robot"),
        ("status.hostIP", "192.0.2.1"),
        ("status.hostIPs", "192.0.2.1"),
    ],
)
def test_fields_of_the_pod(path, value):
    assert environment(field(path)).variables == {"X": value}


@pytest.mark.parametrize(
    "path", ["status.podIP", "status.podIPs", "status.phase", "metadata.name['x']", ""]
)
def test_a_field_without_a_value_is_a_problem(path):
    with pytest.raises(
        ConfigurationProblem, match=f'field "{path}" has no value'.replace("[", ".")
    ):
        environment(field(path))


@pytest.mark.parametrize("path", ["status.podIP", "status.podIPs"])
def test_the_own_address_is_told_once_it_is_known(path):
    container = Container(name="app", env=(field(path),))
    assert needs_pod_ip(container)
    assert environment(field(path), pod_ip="10.0.0.1").variables == {"X": "10.0.0.1"}
    assert environment(field(path), pod_ip="").variables == {"X": ""}


def test_a_value_of_its_own_needs_no_address():
    overridden = attrs.evolve(field("status.podIP"), value="127.0.0.1")
    assert not needs_pod_ip(Container(name="app", env=(overridden, field("metadata.name"))))


def test_annotations_are_quoted_as_go_quotes():
    metadata = ObjectMeta(annotations={"a": "\a\x00\x7f\u200b\U000e0001 ü…\\"})
    fields = Fields(pod=Pod(metadata=metadata), node_name="", host_ip="")
    assert field_value("metadata.annotations", fields) == (
        r'''a="\a\x00\x7f\u200b\U000e0001 ü…\\"'''
    )


def test_services_are_told_behind_the_containers_own_variables():
    services = {"DB_SERVICE_HOST": "10.96.0.9", "DB_SERVICE_PORT": "5432"}
    env = environment(
        EnvVar(name="URL", value="$(DB_SERVICE_HOST):$(DB_SERVICE_PORT)"),
        EnvVar(name="DB_SERVICE_PORT", value="6432"),
        EnvVar(name="LATER", value="$(DB_SERVICE_PORT)"),
        services=services,
    )
    assert env.variables == {
        "URL": "10.96.0.9:5432",
        "DB_SERVICE_PORT": "6432",
        "LATER": "6432",
        "DB_SERVICE_HOST": "10.96.0.9",
    }


def test_too_many_services_are_a_problem_with_a_cure():
    with pytest.raises(ConfigurationProblem, match="enableServiceLinks: false"):
        environment(services={f"S{number}_SERVICE_HOST": "x" * 1000 for number in range(1100)})


@pytest.mark.parametrize(
    ("mount", "path"),
    [
        ({"sub_path": "a/b"}, "a/b"),
        ({"sub_path_expr": "$(POD)/$$(POD)"}, "web-0/$(POD)"),
        ({}, ""),
    ],
)
def test_sub_paths(mount, path):
    assert sub_path_of(VolumeMount(name="data", **mount), {"POD": "web-0"}) == path


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ({"sub_path_expr": "$(GONE)/$(EMPTY)"}, 'missing value for "EMPTY, GONE"'),
        ({"sub_path_expr": "$(UP)"}, "leads out of the volume"),
        ({"sub_path": "/etc"}, "leads out of the volume"),
        ({"sub_path": "a/../../b"}, "leads out of the volume"),
    ],
)
def test_sub_paths_that_cannot_be(mount, message):
    with pytest.raises(ConfigurationProblem, match=message):
        sub_path_of(VolumeMount(name="data", **mount), {"EMPTY": "", "UP": ".."})


def test_the_host_address_of_a_node_without_one_is_a_problem():
    with pytest.raises(ConfigurationProblem, match="no address yet"):
        environment(field("status.hostIP"), host_ip="")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        (resource("limits.cpu"), "2"),
        (resource("limits.cpu", divisor="1m"), "1500"),
        (resource("limits.cpu", divisor="0"), "2"),
        (resource("limits.memory"), "100000000"),
        (resource("limits.memory", divisor="1Mi"), "96"),
        (resource("requests.memory", divisor="1Ki"), "1024"),
        (resource("requests.cpu"), "0"),
        (resource("limits.memory", container="app", divisor="1Mi"), "128"),
        (resource("limits.cpu", container=""), "1"),
        (resource("limits.ephemeral-storage"), "0"),
        (resource("limits.memory", container="unlimited", divisor="1Mi"), "128"),
    ],
)
def test_resources_in_divisors_rounded_up(variable, value):
    assert environment(variable).variables == {"X": value}


@pytest.mark.parametrize(
    "variable",
    [
        resource("limits.cpu", container="nobody"),
        resource("limits"),
        resource("limits.cpu", divisor="-1"),
        resource("limits.cpu", divisor="many"),
    ],
)
def test_resources_that_make_no_sense_are_a_problem(variable):
    with pytest.raises(ConfigurationProblem):
        environment(variable)


def test_references_name_every_object():
    container = Container(
        name="app",
        env=(from_config_map("a", "k"), from_secret("b", "k", optional=True), field("spec.x")),
        env_from=(
            EnvFromSource(config_map_ref=EnvFromReference(name="c")),
            EnvFromSource(secret_ref=EnvFromReference(name="d")),
        ),
    )
    assert references(container).config_maps == {"a", "c"}
    assert references(container).secrets == {"b", "d"}


def test_values_do_not_show_when_printed():
    assert "s3cr3t" not in repr(environment(from_secret("login", "password")))
