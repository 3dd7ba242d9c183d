import attrs
import pytest

from kraftlet_trio.cloud.objects import (
    ImageRequest,
    InstanceRequest,
    InstanceVolumeRequest,
    PluginRequest,
    RomFile,
    RomRequest,
    ScaleToZero,
    ServiceGroupRequest,
)
from kraftlet_trio.kubernetes.objects import ObjectMeta
from kraftlet_trio.kubernetes.pod import Container, Pod, PodSpec, ResourceRequirements
from kraftlet_trio.mapping.annotations import ContainerOptions, PodDefaults, PodOptions
from kraftlet_trio.mapping.environment import Environment
from kraftlet_trio.mapping.instances import instance_request
from kraftlet_trio.mapping.names import Naming, NodeIdentity
from kraftlet_trio.mapping.problems import ConfigurationProblem

APP = Container(name="app", image="nginx:1.27")
SLEEP = ScaleToZero(policy="on", stateful=False, cooldown_time_ms=1000)
PLUGIN = PluginRequest(name="tracer", image="me/tracer:1")
ROM = RomRequest(name="rom", at="/etc/web", files=(RomFile(path="a", data="b"),))
VOLUME = InstanceVolumeRequest(uuid="v-1", at="/data")

TAGS = (
    "kraftlet:cluster=c",
    "kraftlet:node=kraftlet",
    "k8s.io:namespace=default",
    "k8s.io:pod=web-0",
    "k8s.io:container=app",
    "k8s.io:uid=u-1",
)


def a_pod(*containers: Container, name: str = "web-0", **spec) -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default", uid="u-1"),
        spec=PodSpec(containers=containers or (APP,), **spec),
    )


def of_app(**options) -> PodOptions:
    return PodOptions(of_containers={"app": ContainerOptions(**options)})


def requested(container: Container = APP, pod: Pod | None = None, **given) -> InstanceRequest:
    defaults = {
        "owner": NodeIdentity("c", "kraftlet"),
        "naming": Naming(),
        "options": PodOptions(),
        "image": container.image,
        "args": None,
        "environment": Environment({}),
        "group": None,
    }
    return instance_request(pod or a_pod(container), container, **{**defaults, **given})


def init_requested(container: Container, **given) -> InstanceRequest:
    pod = a_pod(Container(name="other"), init_containers=(container,))
    return requested(container, pod, group="my-svc", **given)


def test_a_plain_container():
    assert requested() == InstanceRequest(
        name="web-0-app",
        image="nginx:1.27",
        memory_mb=128,
        vcpus=1,
        autostart=True,
        restart_policy="never",
        hostname="web-0",
        tags=TAGS,
    )


def test_a_container_with_everything():
    container = attrs.evolve(
        APP, resources=ResourceRequirements(limits={"memory": "1G", "cpu": "1500m"})
    )
    image = ImageRequest(url="nginx:1.27", pull_policy="never")
    request = requested(
        container,
        a_pod(container, hostname="host"),
        image=image,
        args=("/srv",),
        environment=Environment({"MODE": "prod"}),
        group="my-svc",
        volumes=(VOLUME,),
        roms=(ROM,),
        plugins=(PLUGIN,),
    )
    assert request == InstanceRequest(
        name="web-0-app",
        image=image,
        args=("/srv",),
        env={"MODE": "prod"},
        memory_mb=954,
        vcpus=2,
        autostart=True,
        restart_policy="never",
        hostname="host",
        service_group=ServiceGroupRequest(name="my-svc"),
        scale_to_zero=SLEEP,
        volumes=(VOLUME,),
        roms=(ROM,),
        plugins=(PLUGIN,),
        tags=TAGS,
    )


def test_what_holds_on_the_node_holds_where_a_container_says_nothing():
    defaults = PodDefaults(memory_mb=512, vcpus=2)
    assert requested(options=PodOptions(defaults=defaults)).memory_mb == 512
    assert requested(options=PodOptions(defaults=defaults)).vcpus == 2


def test_an_init_instance_neither_starts_by_itself_nor_is_published_nor_sleeps():
    request = init_requested(APP, options=of_app(template="warm"), wakes_by_plugin=True)
    assert request.autostart is False
    assert request.service_group is None
    assert request.scale_to_zero is None
    assert request.image == "nginx:1.27"


def test_a_sidecar_is_started_in_its_turn_and_published_like_the_others():
    sidecar = attrs.evolve(APP, restart_policy="Always")
    request = init_requested(sidecar)
    assert request.autostart is False
    assert request.service_group == ServiceGroupRequest(name="my-svc")
    assert request.scale_to_zero == SLEEP
    assert init_requested(sidecar, options=of_app(template="mesh")).template == {"name": "mesh"}


def test_an_instance_from_a_template_brings_only_what_the_template_lacks():
    request = requested(
        image="",
        args=("/srv",),
        environment=Environment({"A": "1"}),
        options=attrs.evolve(of_app(template="warm"), autostart=False),
        group="my-svc",
        volumes=(VOLUME,),
        roms=(ROM,),
        plugins=(PLUGIN,),
    )
    assert request == InstanceRequest(
        name="web-0-app",
        template={"name": "warm"},
        autostart=False,
        service_group=ServiceGroupRequest(name="my-svc"),
        scale_to_zero=SLEEP,
        roms=(ROM,),
        plugins=(PLUGIN,),
        tags=TAGS,
    )


def test_a_template_is_its_own_containers():
    side = Container(name="side", image="side")
    pod = a_pod(APP, side)
    assert requested(APP, pod, options=of_app(template="warm")).template == {"name": "warm"}
    assert requested(side, pod, options=of_app(template="warm")).template is None


def test_an_inline_group_is_passed_on():
    group = ServiceGroupRequest(services=())
    assert requested(group=group).service_group is group


def test_without_autostart_the_instance_is_made_stopped():
    assert requested(options=PodOptions(autostart=False)).autostart is False


def test_only_what_something_can_wake_sleeps():
    off = of_app(scale_to_zero=ScaleToZero(policy="off"))
    assert requested(group=None).scale_to_zero is None
    assert requested(group=None, plugins=(PLUGIN,)).scale_to_zero is None
    assert requested(group=None, plugins=(PLUGIN,), wakes_by_plugin=True).scale_to_zero == SLEEP
    assert requested(group="my-svc").scale_to_zero == SLEEP
    assert requested(group="my-svc", options=off).scale_to_zero is None


@pytest.mark.parametrize(
    ("pod", "hostname"),
    [
        (a_pod(APP, hostname="host"), "host"),
        (a_pod(APP), "web-0"),
        (a_pod(APP, name="web.example"), None),
        (a_pod(APP, name="w" * 64), None),
        (a_pod(APP, Container(name="side"), hostname="host"), "web-0-app"),
    ],
    ids=["set", "the Pod's", "dotted", "too long", "several containers"],
)
@pytest.mark.parametrize("naming", [Naming(), Naming(hashed=True)])
def test_hostname(pod, hostname, naming):
    assert requested(APP, pod, naming=naming).hostname == hostname


def test_ignored_containers_leave_the_pods_hostname_to_the_only_other_one():
    pod = a_pod(APP, Container(name="side"))
    assert requested(pod=pod, options=PodOptions(ignored=frozenset({"side"}))).hostname == "web-0"


def test_a_sidecar_has_a_hostname_of_its_own():
    assert init_requested(attrs.evolve(APP, restart_policy="Always")).hostname == "web-0-app"
    assert init_requested(APP).hostname == "web-0"


def test_resources_that_are_no_quantities_are_a_problem():
    resources = ResourceRequirements(limits={"memory": "much"})
    with pytest.raises(ConfigurationProblem) as caught:
        requested(attrs.evolve(APP, resources=resources))
    assert caught.value.reason == "InvalidResources"
    assert "container app" in caught.value.message
