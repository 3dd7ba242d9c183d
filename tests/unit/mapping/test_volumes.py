"""A Pod's own volumes, and what its containers mount."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.cloud.objects import InstanceVolumeRequest, VolumeRequest
from kraftlet_trio.kubernetes.objects import ObjectMeta
from kraftlet_trio.kubernetes.pod import Container, Pod, PodSpec, VolumeMount
from kraftlet_trio.kubernetes.pod_volumes import (
    EmptyDirVolumeSource,
    EphemeralVolumeSource,
    HostPathVolumeSource,
    PersistentVolumeClaimVolumeSource,
    Volume,
)
from kraftlet_trio.mapping.bound_claims import ClaimVolume
from kraftlet_trio.mapping.names import Naming, NodeIdentity, pod_uid_of, pod_volume_of
from kraftlet_trio.mapping.problems import ConfigurationProblem
from kraftlet_trio.mapping.quantities import MIB, quantity
from kraftlet_trio.mapping.volumes import mounts, pod_volumes, volume_warnings

AT_DATA = VolumeMount(name="data", mount_path="/data")
OWNER = NodeIdentity("c", "kraftlet")


def a_container(name="app", *volume_mounts, **fields):
    return Container(name=name, image="i", volume_mounts=volume_mounts or (AT_DATA,), **fields)


def a_pod(*volumes, containers=None, init=(), name="web-0", uid="u-1"):
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default", uid=uid),
        spec=PodSpec(
            containers=(a_container(),) if containers is None else containers,
            init_containers=init,
            volumes=volumes,
        ),
    )


def an_empty_dir(name="data", **source):
    return Volume(name=name, source="emptyDir", empty_dir=EmptyDirVolumeSource(**source))


def a_host_path(path="/srv", kind=""):
    source = HostPathVolumeSource(path=path, type=kind)
    return Volume(name="data", source="hostPath", host_path=source)


def a_claim(name="data", claim="claim", *, read_only=False):
    return Volume(
        name=name,
        source="persistentVolumeClaim",
        persistent_volume_claim=PersistentVolumeClaimVolumeSource(
            claim_name=claim, read_only=read_only
        ),
    )


def an_ephemeral():
    return Volume(name="data", source="ephemeral", ephemeral=EphemeralVolumeSource())


def own(pod, *, host_paths=False, min_volume_mb=8):
    return pod_volumes(
        pod, owner=OWNER, naming=Naming(), min_volume_mb=min_volume_mb, host_paths=host_paths
    )


def mounted(pod, container=None, *, host_paths=False, **claims):
    return mounts(
        pod,
        container or pod.spec.containers[0],
        claim_volumes=claims or {"claim": ClaimVolume("v-1")},
        pod_volumes=own(pod, host_paths=host_paths),
    )


def test_an_empty_dir_becomes_a_volume_of_the_pod_alone():
    [made] = own(a_pod(an_empty_dir()))
    assert made.volume == "data"
    assert made.request == VolumeRequest(
        name=Naming().pod_volume("web-0", "u-1", "data"),
        size_mb=100,
        access_mode="rwo",
        tags=(
            "kraftlet:cluster=c",
            "kraftlet:node=kraftlet",
            "k8s.io:namespace=default",
            "k8s.io:pod=web-0",
            "k8s.io:volume=data",
            "k8s.io:uid=u-1",
        ),
    )
    assert made.request.name.startswith("web-0-data-")
    assert (pod_uid_of(made.request.tags), pod_volume_of(made.request.tags)) == ("u-1", "data")


@pytest.mark.parametrize(
    ("size_limit", "least", "size_mb"),
    [
        ("", 8, 100),
        ("0", 8, 100),
        ("9.5Mi", 8, 10),
        ("9.5Mi", 0, 10),
        ("1.5Mi", 0, 2),
        ("1.5Mi", 8, 8),
        ("1G", 8, 954),
        ("", 200, 200),
    ],
)
def test_size_limit_is_rounded_up_and_raised_to_the_smallest_volume(size_limit, least, size_mb):
    [made] = own(a_pod(an_empty_dir(size_limit=size_limit)), min_volume_mb=least)
    assert made.request.size_mb == size_mb


@given(size=st.integers(1, 10**7), suffix=st.sampled_from(["", "k", "Ki", "M", "Mi"]))
def test_empty_dir_holds_its_limit_and_no_whole_mib_more(size, suffix):
    [made] = own(a_pod(an_empty_dir(size_limit=f"{size}{suffix}")), min_volume_mb=0)
    asked = quantity(f"{size}{suffix}")
    assert (made.request.size_mb - 1) * MIB < asked <= made.request.size_mb * MIB


def test_a_volume_that_nobody_mounts_is_not_made():
    assert own(a_pod(an_empty_dir(), an_empty_dir("unused"))) == own(a_pod(an_empty_dir()))


SIDECAR = a_container("proxy", restart_policy="Always")


@pytest.mark.parametrize(
    ("init", "containers", "shared"),
    [
        ((), ("app",), False),
        ((), ("app", "side"), True),
        (("first",), ("app",), False),
        (("first", "second"), ("app",), False),
        (("first",), (), False),
        ((SIDECAR,), ("app",), True),
        ((SIDECAR, "second"), (), True),
        (("first", SIDECAR), (), False),
    ],
)
def test_only_containers_that_run_side_by_side_need_a_shared_file_system(init, containers, shared):
    def whole(given):
        return tuple(a_container(one) if isinstance(one, str) else one for one in given)

    pod = a_pod(an_empty_dir(), init=whole(init), containers=whole(containers))
    [made] = own(pod)
    asked = (made.request.filesystem, made.request.access_mode)
    assert asked == (("virtiofs", "rwx") if shared else (None, "rwo"))
    every = (*pod.spec.init_containers, *pod.spec.containers)
    assert len({mounted(pod, one)[0].name for one in every}) == 1


def test_memory_is_kept_on_a_volume_and_told_of():
    pod = a_pod(an_empty_dir(medium="Memory", size_limit="16Mi"), an_empty_dir("unused"))
    assert [made.request.size_mb for made in own(pod)] == [16]
    [warning] = volume_warnings(pod)
    assert "16 MiB" in warning.message
    assert '"data"' in warning.message
    assert volume_warnings(a_pod(an_empty_dir())) == ()


def test_a_host_path_is_mounted_where_that_is_allowed():
    pod = a_pod(a_host_path("/srv/x"))
    [made] = own(pod, host_paths=True)
    assert (made.request.host_path, made.request.size_mb) == ("/srv/x", None)
    assert mounted(pod, host_paths=True)[0].name == made.request.name


@pytest.mark.parametrize(
    ("claim_read_only", "mount_read_only", "volume_read_only"),
    [
        (False, False, False),
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ],
)
def test_a_mount_is_read_only_when_it_or_its_claim_or_its_volume_is(
    claim_read_only, mount_read_only, volume_read_only
):
    mount = attrs.evolve(AT_DATA, read_only=mount_read_only)
    pod = a_pod(a_claim(read_only=claim_read_only), containers=(a_container("app", mount),))
    read_only = claim_read_only or mount_read_only or volume_read_only
    assert mounted(pod, claim=ClaimVolume("v-1", volume_read_only)) == (
        InstanceVolumeRequest(uuid="v-1", at="/data", readonly=read_only),
    )


def test_an_ephemeral_volume_is_the_claim_of_the_pods_and_its_own_name():
    [request] = mounted(a_pod(an_ephemeral()), **{"web-0-data": ClaimVolume("v-2")})
    assert request.uuid == "v-2"


def test_an_empty_dir_may_be_mounted_for_reading():
    mount = attrs.evolve(AT_DATA, read_only=True)
    [request] = mounted(a_pod(an_empty_dir(), containers=(a_container("app", mount),)))
    assert request.readonly


def test_a_mount_path_is_made_canonical():
    mount = VolumeMount(name="data", mount_path="//var/./lib//x/")
    [request] = mounted(a_pod(a_claim(), containers=(a_container("app", mount),)))
    assert request.at == "/var/lib/x"


@pytest.mark.parametrize("kind", ["configMap", "secret", "downwardAPI", "projected", "image"])
def test_files_are_none_of_these_volumes(kind):
    mount = VolumeMount(name="data", mount_path="/data", sub_path="x")
    pod = a_pod(Volume(name="data", source=kind), containers=(a_container("app", mount),))
    assert own(pod) == mounted(pod) == ()


def at(path, **fields):
    return VolumeMount(name="data", mount_path=path, **fields)


@pytest.mark.parametrize(
    ("volumes", "volume_mounts", "why"),
    [
        ([], [at("/d")], 'mount "data": the Pod has no volume'),
        ([Volume(name="data", source="nfs")], [at("/d")], 'kind "nfs" cannot be mounted'),
        ([Volume(name="data")], [at("/d")], 'kind "" cannot be mounted'),
        ([a_claim()], [at("/d", sub_path="x")], 'subPath "x" cannot'),
        ([an_empty_dir()], [at("/d", sub_path_expr="$(X)")], 'subPath "$(X)" cannot'),
        ([a_claim(claim="unbound")], [at("/d")], 'claim "unbound" has no cloud volume'),
        ([an_ephemeral()], [at("/d")], 'claim "web-0-data" has no cloud volume'),
        ([a_claim()], [at("d")], 'path "d" cannot'),
        ([an_empty_dir()], [at("/")], 'path "/" cannot'),
        ([a_claim()], [at("/d/../e")], 'path "/d/../e" cannot'),
        ([a_claim()], [at("/d:rw")], 'path "/d:rw" cannot'),
        ([an_empty_dir()], [at("/d"), at("/e")], 'mount "data": an instance mounts a volume once'),
        (
            [a_claim(), a_claim("again")],
            [at("/d"), VolumeMount(name="again", mount_path="/e")],
            'mount "again": an instance mounts a volume once',
        ),
        (
            [a_claim(), an_empty_dir("again")],
            [at("/d"), VolumeMount(name="again", mount_path="/d/")],
            'another volume is mounted at "/d"',
        ),
        ([an_empty_dir(medium="HugePages-2Mi")], [at("/d")], '"HugePages-2Mi" is not to be had'),
        ([an_empty_dir(size_limit="lots")], [at("/d")], '"lots"'),
        ([an_empty_dir(size_limit="-1")], [at("/d")], '"-1"'),
        ([a_host_path()], [at("/d")], "--enable-host-path-volumes"),
    ],
)
def test_a_mount_that_cannot_be_is_a_problem(volumes, volume_mounts, why):
    pod = a_pod(*volumes, containers=(a_container("app", *volume_mounts),))
    with pytest.raises(ConfigurationProblem) as caught:
        mounted(pod)
    assert caught.value.reason == "FailedMount"
    assert why in caught.value.message


@pytest.mark.parametrize(
    ("volume", "why"),
    [
        (a_host_path(kind="Socket"), '"Socket" cannot be mounted'),
        (a_host_path("srv"), '"srv" is no place'),
        (a_host_path("/srv/../etc"), "is no place"),
    ],
)
def test_a_host_path_that_is_no_directory_is_a_problem_even_where_they_are_allowed(volume, why):
    with pytest.raises(ConfigurationProblem, match=why):
        mounted(a_pod(volume), host_paths=True)


def test_a_block_device_is_a_problem():
    container = attrs.evolve(a_container(), volume_devices=({"name": "data"},))
    with pytest.raises(ConfigurationProblem, match="block device") as caught:
        mounted(a_pod(a_claim(), containers=(container,)))
    assert caught.value.reason == "FailedMapVolume"
