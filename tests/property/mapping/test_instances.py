import attrs
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.cloud.objects import PluginRequest, ServiceGroupRequest
from kraftlet_trio.mapping.annotations import lasting_containers, pod_options
from kraftlet_trio.mapping.command_line import command_line
from kraftlet_trio.mapping.downward import Fields
from kraftlet_trio.mapping.environment import Environment, resolve
from kraftlet_trio.mapping.image_reference import container_image, image_request
from kraftlet_trio.mapping.instances import instance_request
from kraftlet_trio.mapping.names import Naming, NodeIdentity
from kraftlet_trio.mapping.problems import ConfigurationProblem
from tests import strategies

groups = st.sampled_from([None, "web", ServiceGroupRequest(services=())])
environments = st.dictionaries(strategies.env_names(), strategies.templates()).map(Environment)
PLUGIN = PluginRequest(name="tracer", image="me/tracer:1")


def requested(pod, container, **given):
    environment = given.get("environment", Environment({}))
    return instance_request(
        pod,
        container,
        **{
            "owner": NodeIdentity("c", "kraftlet"),
            "naming": Naming(),
            "options": pod_options(pod),
            "image": image_request(container_image(container), None),
            "args": command_line(container, None, environment),
            "environment": environment,
            "group": None,
            **given,
        },
    )


@settings(max_examples=30)
@given(strategies.pods(), environments, groups, st.booleans())
def test_every_valid_container_becomes_an_instance_that_sleeps_only_if_it_can_wake(
    pod, environment, group, wakes_by_plugin
):
    for container in lasting_containers(pod):
        given = {"environment": environment, "group": group, "wakes_by_plugin": wakes_by_plugin}
        request = requested(pod, container, **given)
        assert request == requested(pod, container, **given)
        assert len(request.tags) <= 16
        assert (request.image is None) == (request.template is not None)
        assert (request.service_group is None) == (group is None)
        policy = pod_options(pod).of(container.name).scale_to_zero.policy
        awake = policy == "off" or (group is None and not wakes_by_plugin)
        assert (request.scale_to_zero is None) == awake


@settings(max_examples=30)
@given(strategies.pods(), groups)
def test_an_init_instance_is_made_stopped_and_stays_alone(pod, group):
    for container in pod.spec.init_containers:
        request = requested(pod, container, group=group, wakes_by_plugin=True)
        assert request.autostart is False
        assert request.restart_policy == "never"
        assert request.template is None
        assert request.service_group is None
        assert request.scale_to_zero is None


@settings(max_examples=30)
@given(strategies.pods(), groups)
def test_an_instance_from_a_template_asks_for_nothing_that_the_template_has(pod, group):
    key = "cloud.unikraft.v1.instances/template"
    annotations = {**pod.metadata.annotations, key: "warm"}
    warm = attrs.evolve(pod, metadata=attrs.evolve(pod.metadata, annotations=annotations))
    for container in warm.spec.containers:
        request = requested(warm, container, group=group, plugins=(PLUGIN,))
        asked = attrs.asdict(request, filter=lambda _, value: value is not None)
        assert {"template", "plugins", "tags"} <= set(asked)
        assert set(asked) <= {
            "name",
            "template",
            "autostart",
            "service_group",
            "scale_to_zero",
            "roms",
            "plugins",
            "tags",
        }


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
            )
        except ConfigurationProblem:
            continue
        assert orjson.dumps(attrs.asdict(request))
