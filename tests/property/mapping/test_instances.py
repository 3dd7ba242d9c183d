import attrs
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.cloud.objects import ServiceGroupRequest
from kraftlet_trio.mapping.annotations import pod_options
from kraftlet_trio.mapping.bound_claims import ClaimVolume
from kraftlet_trio.mapping.downward import Fields
from kraftlet_trio.mapping.environment import Environment, resolve
from kraftlet_trio.mapping.instances import instance_request
from kraftlet_trio.mapping.names import Naming, NodeIdentity
from kraftlet_trio.mapping.problems import ConfigurationProblem
from tests import strategies

groups = st.sampled_from([None, "web", ServiceGroupRequest(services=())])
environments = st.dictionaries(strategies.env_names(), strategies.templates()).map(Environment)


def requested(pod, container, **given):
    return instance_request(
        pod,
        container,
        **{
            "owner": NodeIdentity("c", "kraftlet"),
            "naming": Naming(),
            "options": pod_options(pod),
            "environment": Environment({}),
            "group": None,
            "init": False,
            "claim_volumes": {"claim": ClaimVolume("volume")},
            **given,
        },
    )


def without_template(pod):
    return attrs.evolve(pod_options(pod), template=None)


@settings(max_examples=30)
@given(strategies.pods(), environments, groups)
def test_every_valid_container_becomes_an_instance_that_sleeps_only_if_published(
    pod, environment, group
):
    for container in pod.spec.containers:
        request = requested(pod, container, environment=environment, group=group)
        assert request == requested(pod, container, environment=environment, group=group)
        assert len(request.tags) <= 16
        assert (request.image is None) == (request.template is not None)
        assert (request.service_group is None) == (group is None)
        awake = group is None or pod_options(pod).scale_to_zero.policy == "off"
        assert (request.scale_to_zero is None) == awake


@settings(max_examples=30)
@given(strategies.pods(), groups)
def test_an_init_instance_is_made_stopped_and_stays_alone(pod, group):
    for container in pod.spec.containers:
        request = requested(pod, container, group=group, init=True)
        assert request.autostart is False
        assert request.restart_policy == "never"
        assert request.template is None
        assert request.service_group is None
        assert request.scale_to_zero is None


@settings(max_examples=30)
@given(strategies.pods(), groups)
def test_an_instance_from_a_template_asks_for_nothing_that_the_template_has(pod, group):
    options = attrs.evolve(pod_options(pod), template="warm")
    for container in pod.spec.containers:
        request = requested(pod, container, options=options, group=group)
        asked = attrs.asdict(request, filter=lambda _, value: value is not None)
        assert set(asked) <= {
            "name",
            "template",
            "autostart",
            "service_group",
            "scale_to_zero",
            "tags",
        }


@settings(max_examples=30)
@given(strategies.pods(), environments)
def test_args_are_command_then_args_in_order(pod, environment):
    for container in pod.spec.containers:
        marked = attrs.evolve(
            container,
            command=tuple(f"c{n}" for n, _ in enumerate(container.command)),
            args=tuple(f"a{n}" for n, _ in enumerate(container.args)),
        )
        options = without_template(pod)
        request = requested(pod, marked, options=options, environment=environment)
        assert request.args == ((*marked.command, *marked.args) or None)


@settings(max_examples=30)
@given(
    strategies.hostile_pods(),
    strategies.config_maps(),
    strategies.secrets(),
    groups,
    st.booleans(),
)
def test_a_hostile_pod_is_an_instance_or_a_configuration_problem(
    pod, config_maps, secrets, group, hashed
):
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        try:
            environment = resolve(
                container,
                Fields(pod=pod, node_name="kraftlet", host_ip="192.0.2.1"),
                config_maps=config_maps,
                secrets=secrets,
            )
            request = requested(
                pod,
                container,
                naming=Naming(hashed=hashed),
                environment=environment,
                group=group,
                init=container in pod.spec.init_containers,
                claim_volumes={"": "volume"},
            )
        except ConfigurationProblem:
            continue
        assert orjson.dumps(attrs.asdict(request))
