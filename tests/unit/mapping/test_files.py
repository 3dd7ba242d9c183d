"""What of a Pod's volumes is a file where, and what cannot be."""

import base64

import pytest

from kraftlet_trio.cloud.objects import ImageRequest
from kraftlet_trio.kubernetes.objects import ConfigMap, ObjectMeta, Secret
from kraftlet_trio.kubernetes.pod import Container, Pod, PodSpec, VolumeMount
from kraftlet_trio.kubernetes.pod_volumes import (
    ConfigMapProjection,
    ConfigMapVolumeSource,
    DownwardAPIProjection,
    DownwardAPIVolumeFile,
    DownwardAPIVolumeSource,
    EmptyDirVolumeSource,
    ImageVolumeSource,
    KeyToPath,
    ObjectFieldSelector,
    ProjectedVolumeSource,
    SecretProjection,
    SecretVolumeSource,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)
from kraftlet_trio.mapping.downward import Fields
from kraftlet_trio.mapping.file_contents import FileSources
from kraftlet_trio.mapping.files import file_references, files_need_pod_ip, roms, tokens_wanted
from kraftlet_trio.mapping.problems import ConfigurationProblem
from kraftlet_trio.mapping.tokens import TokenWanted


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


CONFIG_MAPS = {
    "app": ConfigMap(data={"a": "1", "b": "2"}, binary_data={"raw": encoded(b"\xff\0")}),
    "empty": ConfigMap(),
    "many": ConfigMap(data={f"k{number}": "" for number in range(17)}),
    "big": ConfigMap(data={"k": "x" * 999_999}),
    "too-big": ConfigMap(data={"k": "ü" * 500_001}),
    "inflating": ConfigMap(data={"k": "\x01" * 999_999}),
    "broken": ConfigMap(binary_data={"k": "no base64"}),
    "kube-root-ca.crt": ConfigMap(data={"ca.crt": "certificate"}),
}
SECRETS = {"login": Secret(data={"user": encoded(b"me"), "zero": encoded(b"\0")})}


def config_map(name="app", *items, volume="", **fields) -> Volume:
    source = ConfigMapVolumeSource(
        name=name, items=tuple(KeyToPath(key=key, path=path) for key, path in items), **fields
    )
    return Volume(name=volume or name, source="configMap", config_map=source)


def projected(*sources: VolumeProjection, name="all") -> Volume:
    return Volume(name=name, source="projected", projected=ProjectedVolumeSource(sources=sources))


def a_field(path, file="field") -> DownwardAPIVolumeFile:
    return DownwardAPIVolumeFile(path=file, field_ref=ObjectFieldSelector(field_path=path))


API_ACCESS = projected(
    VolumeProjection(
        service_account_token=ServiceAccountTokenProjection(expiration_seconds=3607, path="token")
    ),
    VolumeProjection(
        config_map=ConfigMapProjection(
            name="kube-root-ca.crt", items=(KeyToPath(key="ca.crt", path="ca.crt"),)
        )
    ),
    VolumeProjection(
        downward_api=DownwardAPIProjection(items=(a_field("metadata.namespace", "namespace"),))
    ),
    name="kube-api-access-x",
)


def at(path, volume, **fields) -> tuple[Volume, VolumeMount]:
    return volume, VolumeMount(name=volume.name, mount_path=path, **fields)


def a_pod(*mounted) -> tuple[Pod, Container]:
    volumes = {volume.name: volume for volume, _ in mounted}
    container = Container(name="app", volume_mounts=tuple(mount for _, mount in mounted))
    spec = PodSpec(containers=(container,), volumes=tuple(volumes.values()))
    metadata = ObjectMeta(name="web", namespace="team", uid="u", labels={"app": "web"})
    return Pod(metadata=metadata, spec=spec), container


def files(*mounted, pod_ip=None, **variables):
    pod, container = a_pod(*mounted)
    sources = FileSources(
        fields=Fields(pod=pod, node_name="node", host_ip="192.0.2.1", pod_ip=pod_ip),
        config_maps=CONFIG_MAPS,
        secrets=SECRETS,
        tokens={TokenWanted("", 3607): "jwt", TokenWanted("vault", 600): "other"},
    )
    return roms(pod, container, sources, variables)


def tree(*mounted, **options) -> dict[str, dict[str, str]]:
    """Content by mount path and path; what is in base64 in a tuple."""
    return {
        rom.at: {
            one.path: one.data if one.encoding is None else (one.encoding, one.data)
            for one in rom.files
        }
        for rom in files(*mounted, **options).roms
    }


def refusal(*mounted, **options) -> str:
    with pytest.raises(ConfigurationProblem) as caught:
        files(*mounted, **options)
    assert caught.value.reason == "FailedMount"
    assert "; " in caught.value.message, "it names a cure"
    return caught.value.message


def test_a_config_map_is_a_file_a_key():
    raw = ("base64", encoded(b"\xff\0"))
    assert tree(at("/etc/app/", config_map())) == {"/etc/app": {"a": "1", "b": "2", "raw": raw}}


def test_items_choose_and_place():
    volume = config_map("app", ("b", "deep/./x"), ("a", "y"))
    assert tree(at("/etc/app", volume)) == {"/etc/app": {"deep/x": "2", "y": "1"}}


def test_secrets_are_text_where_they_can_be():
    volume = Volume(name="s", source="secret", secret=SecretVolumeSource(secret_name="login"))
    assert tree(at("/run/s", volume)) == {"/run/s": {"user": "me", "zero": ("base64", "AA==")}}


def test_fields_of_the_pod():
    source = DownwardAPIVolumeSource(items=(a_field("metadata.labels"),))
    volume = Volume(name="info", source="downwardAPI", downward_api=source)
    assert tree(at("/info", volume)) == {"/info": {"field": 'app="web"'}}
    assert not files_need_pod_ip(*a_pod(at("/info", volume)))


def test_the_automatic_access_to_the_api_is_mounted():
    path = "/var/run/secrets/kubernetes.io/serviceaccount"
    mounted = at(path, API_ACCESS)
    wanted = {"token": "jwt", "ca.crt": "certificate", "namespace": "team"}
    assert tree(mounted) == {path: wanted}
    assert tokens_wanted(*a_pod(mounted)) == {TokenWanted("", 3607)}
    assert file_references(*a_pod(mounted)).config_maps == {"kube-root-ca.crt"}


def test_the_later_source_of_a_projected_volume_wins():
    first = VolumeProjection(config_map=ConfigMapProjection(name="app"))
    item = KeyToPath(key="user", path="a")
    second = VolumeProjection(secret=SecretProjection(name="login", items=(item,)))
    assert tree(at("/p", projected(first, second)))["/p"]["a"] == "me"
    assert tree(at("/p", projected(second, first)))["/p"]["a"] == "1"


def test_an_image_is_attached_as_it_is():
    source = ImageVolumeSource(reference="registry.test/model:1", pull_policy="Always")
    volume = Volume(name="model", source="image", image=source)
    [rom] = files(at("/model", volume)).roms
    assert rom.image == ImageRequest(url="registry.test/model:1", pull_policy="always")
    assert "a part of an image" in refusal(at("/model", volume, sub_path="x"))


def test_a_volume_without_files_is_not_mounted_and_says_so():
    found = files(at("/etc/app", config_map("empty")))
    assert found.roms == ()
    assert [one.reason for one in found.warnings] == ["EmptyVolume"]


def test_what_is_optional_and_missing_is_left_out_with_a_warning():
    found = files(
        at("/one", config_map("gone", optional=True)),
        at("/two", config_map("app", ("a", "a"), ("gone", "x"), optional=True)),
        at("/three/b/c.conf", config_map("gone", volume="v", optional=True), sub_path="c.conf"),
    )
    assert [(rom.at, len(rom.files)) for rom in found.roms] == [("/two", 1)]
    assert {one.reason for one in found.warnings} == {
        "OptionalConfigMapNotFound",
        "OptionalConfigMapKeyNotFound",
    }


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (config_map("gone"), 'configmap "gone" not found'),
        (config_map("app", ("gone", "x")), 'non-existent key "gone"'),
        (config_map("broken"), "is not base64"),
        (config_map("app", ("a", "../x")), "write a relative path"),
        (config_map("app", ("a", "/x")), "write a relative path"),
        (config_map("app", ("a", "x:y")), "write a relative path"),
        (config_map("app", ("a", "x"), ("b", "x/y")), "both a file and a directory"),
        (projected(VolumeProjection(cluster_trust_bundle={})), "of a kind that cannot be had"),
        (config_map("many"), "holds 17 files"),
        (config_map("too-big"), "holds 1000002 bytes"),
    ],
)
def test_what_cannot_be_files_is_refused(volume, message):
    assert message in refusal(at("/etc/app", volume))


def test_a_rom_may_be_as_large_as_the_limit():
    assert len(tree(at("/big", config_map("big")))["/big"]["k"]) == 999_999


def test_files_of_an_instance_fit_into_one_request():
    mounted = [at(f"/{n}", config_map("inflating", volume=f"v{n}")) for n in range(2)]
    assert "there is room for 7000000" in refusal(*mounted)


def test_an_instance_takes_eight_roms():
    mounted = [at(f"/m{n}", config_map(volume=f"v{n}")) for n in range(9)]
    assert len(files(*mounted[:8]).roms) == 8
    assert "mounts 9 volumes of files, and an instance takes 8" in refusal(*mounted)


def test_a_volume_mounted_twice_is_two_roms_with_legal_names():
    long = "v" * 63
    found = files(*(at(path, config_map(volume=long)) for path in ("/one", "/two")))
    names = [rom.name for rom in found.roms]
    assert names == [long, "v" * 61 + "-2"]


def test_a_directory_of_a_tree_can_be_mounted_alone():
    volume = config_map("app", ("a", "conf/d/x"), ("b", "other"))
    assert tree(at("/etc/d", volume, sub_path="conf/d/")) == {"/etc/d": {"x": "1"}}
    mounted = at("/etc/d", volume, sub_path_expr="$(WHERE)")
    assert tree(mounted, WHERE="conf") == {"/etc/d": {"d/x": "1"}}


def test_a_single_file_takes_a_directory_of_its_own_and_says_so():
    found = files(at("/etc/app/a.conf", config_map(), sub_path="a"))
    assert [(rom.at, [one.path for one in rom.files]) for rom in found.roms] == [
        ("/etc/app", ["a.conf"])
    ]
    assert [one.reason for one in found.warnings] == ["SubPathHidesDirectory"]


@pytest.mark.parametrize("path", ["/a.conf", "/app/a.conf", "/usr/bin/a", "/etc/ssl/certs/a.crt"])
def test_a_single_file_hides_no_directory_that_matters(path):
    assert "cannot be mounted alone" in refusal(at(path, config_map(), sub_path="a"))


def test_a_sub_path_that_names_nothing_is_refused():
    assert 'nothing at subPath "c"' in refusal(at("/etc/app/c", config_map(), sub_path="c"))


@pytest.mark.parametrize("turn", [1, -1])
def test_single_files_join_what_is_mounted_in_their_directory_in_any_order(turn):
    mounted = [
        at("/etc/app", config_map("app", ("a", "a"))),
        at("/etc/app/b", config_map(volume="more"), sub_path="b"),
    ][::turn]
    assert tree(*mounted) == {"/etc/app": {"a": "1", "b": "2"}}
    assert files(*mounted).warnings == ()


@pytest.mark.parametrize("turn", [1, -1])
def test_files_mounted_in_files_are_one_rom_with_them(turn):
    mounted = [
        at("/etc/app", config_map("app", ("a", "a"), ("b", "tls/hidden"))),
        at("/etc/app/tls", config_map("app", ("b", "key"), volume="tls")),
        at("/etc/application", config_map("app", ("a", "x"), volume="other")),
    ][::turn]
    assert tree(*mounted) == {
        "/etc/app": {"a": "1", "tls/key": "2"},
        "/etc/application": {"x": "1"},
    }


def test_nothing_else_is_mounted_in_what_is_read_only():
    scratch = Volume(name="scratch", source="emptyDir", empty_dir=EmptyDirVolumeSource())
    model = Volume(name="model", source="image", image=ImageVolumeSource(reference="m:1"))
    outer = at("/etc/app", config_map())
    assert "read-only" in refusal(outer, at("/etc/app/cache", scratch))
    assert "read-only" in refusal(outer, at("/etc/app", scratch))
    assert "read-only" in refusal(outer, at("/etc/app/model", model))
    assert files(outer, at("/etc", scratch)).roms, "what is outside is no obstacle"
    file_in_the_way = at("/etc/app", config_map("app", ("a", "tls")))
    inner = at("/etc/app/tls/x", config_map(volume="inner"))
    assert "needs a directory" in refusal(file_in_the_way, inner)


def test_two_mounts_at_one_place_are_refused():
    other = config_map(volume="other")
    assert "mounted at" in refusal(at("/etc/app", config_map()), at("/etc//app/", other))


@pytest.mark.parametrize("path", ["/", "", "etc", "/a/../b", "/a:b"])
def test_places_where_nothing_can_be_mounted(path):
    refusal(at(path, config_map()))


def test_modes_other_than_the_usual_one_are_warned_of():
    assert files(at("/a", config_map(default_mode=0o644))).warnings == ()
    [warning] = files(at("/a", config_map(default_mode=0o755))).warnings
    assert "0755" in warning.message


def test_the_own_address_in_a_file():
    source = DownwardAPIVolumeSource(items=(a_field("status.podIP"),))
    volume = Volume(name="info", source="downwardAPI", downward_api=source)
    assert files_need_pod_ip(*a_pod(at("/info", volume)))
    assert tree(at("/info", volume), pod_ip="10.0.0.1") == {"/info": {"field": "10.0.0.1"}}


def test_contents_do_not_show_when_printed():
    volume = Volume(name="s", source="secret", secret=SecretVolumeSource(secret_name="login"))
    assert "me'" not in repr(files(at("/run/s", volume)).roms)
