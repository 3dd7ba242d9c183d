from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.kubernetes.objects import ObjectMeta
from kraftlet_trio.kubernetes.pod import Container, Pod
from kraftlet_trio.mapping.downward import Fields
from kraftlet_trio.mapping.environment import expand, references, resolve
from kraftlet_trio.mapping.problems import ConfigurationProblem
from tests import strategies


def expanded_as_kubernetes_does(text, variables):
    """Kubernetes' own scanner, character by character."""
    result = ""
    at = 0
    while at < len(text):
        if text[at] != "$" or at + 1 == len(text):
            result += text[at]
            at += 1
        elif text[at + 1] == "$":
            result += "$"
            at += 2
        elif text[at + 1] == "(" and ")" in text[at + 2 :]:
            end = text.index(")", at + 2)
            name = text[at + 2 : end]
            result += variables.get(name, f"$({name})")
            at = end + 1
        else:
            result += text[at : at + 2]
            at += 2
    return result


variables = st.dictionaries(strategies.env_names(), strategies.templates())


@given(st.one_of(strategies.templates(), st.text("$()AB", max_size=12)), variables)
def test_references_expand_as_in_kubernetes(text, variables):
    assert expand(text, variables) == expanded_as_kubernetes_does(text, variables)


@given(st.text(), variables)
def test_text_without_a_dollar_stays(text, variables):
    plain = text.replace("$", "")
    assert expand(plain, variables) == plain


@given(st.text(), variables)
def test_doubled_dollars_escape_everything(text, variables):
    assert expand(text.replace("$", "$$"), variables) == text


def resolved(container, pod, config_maps, secrets):
    return resolve(
        container,
        Fields(pod=pod, node_name="kraftlet", host_ip="192.0.2.1"),
        config_maps=config_maps,
        secrets=secrets,
    )


@settings(max_examples=50)
@given(
    st.one_of(strategies.containers(), strategies.hostile_containers()),
    strategies.hostile_metadata(),
    strategies.config_maps(),
    strategies.secrets(),
)
def test_an_environment_is_text_or_a_configuration_problem(
    container, metadata, config_maps, secrets
):
    try:
        environment = resolved(container, Pod(metadata=metadata), config_maps, secrets)
    except ConfigurationProblem:
        return
    for name, value in environment.variables.items():
        assert isinstance(name, str)
        value.encode()


@settings(max_examples=50)
@given(strategies.containers(), strategies.config_maps(), strategies.secrets())
def test_only_what_is_referred_to_is_read(container, config_maps, secrets):
    pod = Pod(metadata=ObjectMeta(name="web", namespace="default"))
    needed = references(container)
    few_maps = {name: config_maps[name] for name in config_maps if name in needed.config_maps}
    few_secrets = {name: secrets[name] for name in secrets if name in needed.secrets}

    def outcome(*inputs):
        try:
            return resolved(container, pod, *inputs)
        except ConfigurationProblem as problem:
            return problem.reason, problem.message

    assert outcome(few_maps, few_secrets) == outcome(config_maps, secrets)


@given(st.lists(st.builds(strategies.EnvVar, name=strategies.env_names(), value=st.text())))
def test_every_variable_that_is_named_is_there(env):
    container = Container(name="app", env=tuple(env))
    environment = resolved(container, Pod(), {}, {})
    assert set(environment.variables) == {variable.name for variable in env}
    assert environment.warnings == ()
