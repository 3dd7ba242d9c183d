import attrs
import pytest

from kraftlet_trio.cloud.objects import (
    ImageRequest,
    InstanceRequest,
    InstanceVolumeRequest,
    ScaleToZero,
    ServiceGroupRequest,
)
from kraftlet_trio.kubernetes.objects import ObjectMeta
from kraftlet_trio.kubernetes.pod import Container, Pod, PodSpec, ResourceRequirements, VolumeMount
from kraftlet_trio.kubernetes.pod_volumes import PersistentVolumeClaimVolumeSource, Volume
from kraftlet_trio.mapping.annotations import PodOptions
from kraftlet_trio.mapping.bound_claims import ClaimVolume
from kraftlet_trio.mapping.environment import Environment
from kraftlet_trio.mapping.instances import instance_request
from kraftlet_trio.mapping.names import Naming, NodeIdentity
from kraftlet_trio.mapping.problems import ConfigurationProblem

APP = Container(name="app", image="nginx:1.27")

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


def a_claim(name: str = "data", claim: str = "claim", *, read_only: bool = False) -> Volume:
    return Volume(
        name=name,
        source="persistentVolumeClaim",
        persistent_volume_claim=PersistentVolumeClaimVolumeSource(
            claim_name=claim, read_only=read_only
        ),
    )


def requested(container: Container = APP, pod: Pod | None = None, **given) -> InstanceRequest:
    defaults = {
        "owner": NodeIdentity("c", "kraftlet"),
        "naming": Naming(),
        "options": PodOptions(),
        "environment": Environment({}),
        "group": None,
        "init": False,
        "claim_volumes": {"claim": ClaimVolume("v-1")},
    }
    return instance_request(pod or a_pod(container), container, **{**defaults, **given})


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
    container = Container(
        name="app",
        image="nginx:1.27",
        command=("/srv", "$(MODE)"),
        args=("$$(MODE)", "$(nobody)"),
        resources=ResourceRequirements(limits={"memory": "1G", "cpu": "1500m"}),
        volume_mounts=(VolumeMount(name="data", mount_path="/data"),),
    )
    request = requested(
        container,
        a_pod(container, volumes=(a_claim(),), hostname="host"),
        environment=Environment({"MODE": "prod"}),
        group="my-svc",
    )
    assert request == InstanceRequest(
        name="web-0-app",
        image="nginx:1.27",
        args=("/srv", "prod", "$(MODE)", "$(nobody)"),
        env={"MODE": "prod"},
        memory_mb=954,
        vcpus=2,
        autostart=True,
        restart_policy="never",
        hostname="host",
        service_group=ServiceGroupRequest(name="my-svc"),
        scale_to_zero=ScaleToZero(policy="on", stateful=False, cooldown_time_ms=1000),
        volumes=(InstanceVolumeRequest(uuid="v-1", at="/data"),),
        tags=TAGS,
    )


def test_an_init_instance_neither_starts_by_itself_nor_is_published_nor_sleeps():
    request = requested(init=True, group="my-svc", options=PodOptions(template="warm"))
    assert request.autostart is False
    assert request.service_group is None
    assert request.scale_to_zero is None
    assert request.image == "nginx:1.27"


def test_an_instance_from_a_template_brings_only_what_the_template_lacks():
    request = requested(
        attrs.evolve(APP, image="", volume_mounts=(VolumeMount(name="nobody"),)),
        options=PodOptions(template="warm", autostart=False),
        group="my-svc",
        environment=Environment({"A": "1"}),
    )
    assert request == InstanceRequest(
        name="web-0-app",
        template={"name": "warm"},
        autostart=False,
        service_group=ServiceGroupRequest(name="my-svc"),
        scale_to_zero=ScaleToZero(policy="on", stateful=False, cooldown_time_ms=1000),
        tags=TAGS,
    )


def test_an_inline_group_is_passed_on():
    group = ServiceGroupRequest(services=())
    assert requested(group=group).service_group is group


def test_without_autostart_the_instance_is_made_stopped():
    assert requested(options=PodOptions(autostart=False)).autostart is False


def test_nothing_sleeps_without_a_group_or_with_the_policy_off():
    off = PodOptions(scale_to_zero=ScaleToZero(policy="off"))
    assert requested(group=None).scale_to_zero is None
    assert requested(group="my-svc", options=off).scale_to_zero is None


@pytest.mark.parametrize(
    ("image", "policy", "sent"),
    [
        ("nginx", "Always", "nginx"),
        ("nginx", "IfNotPresent", "if_not_present"),
        ("nginx:latest", "Always", "nginx:latest"),
        ("host:5000/nginx", "Always", "host:5000/nginx"),
        ("host:5000/nginx:1", "Always", "always"),
        ("nginx:1", "IfNotPresent", "nginx:1"),
        ("nginx:1", "Never", "never"),
        ("nginx:latest", "Never", "never"),
        ("nginx@sha256:00", "IfNotPresent", "nginx@sha256:00"),
        ("nginx@sha256:00", "Always", "always"),
        ("nginx:1", "", "nginx:1"),
    ],
)
def test_a_pull_policy_is_sent_only_where_it_is_not_the_usual_one(image, policy, sent):
    request = requested(attrs.evolve(APP, image=image, image_pull_policy=policy))
    expected = sent if sent == image else ImageRequest(url=image, pull_policy=sent)
    assert request.image == expected


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


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        (attrs.evolve(APP, image=""), "InvalidImageName"),
        (
            attrs.evolve(APP, resources=ResourceRequirements(limits={"memory": "much"})),
            "InvalidResources",
        ),
        (attrs.evolve(APP, args=("x" * 2**19,) * 3), "ArgumentsTooLarge"),
    ],
)
def test_what_no_instance_can_be_is_a_problem(container, reason):
    with pytest.raises(ConfigurationProblem) as caught:
        requested(container)
    assert caught.value.reason == reason
    assert "container app" in caught.value.message
