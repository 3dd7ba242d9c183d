"""Files of any volumes, held to what a kubelet would lay out, and to what the platform takes."""

from __future__ import annotations

import base64

from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.cloud.serialization import unstructure
from kraftlet_trio.kubernetes.objects import ConfigMap, ObjectMeta
from kraftlet_trio.kubernetes.pod import Container, Pod, PodSpec, VolumeMount
from kraftlet_trio.kubernetes.pod_volumes import (
    ConfigMapProjection,
    DownwardAPIProjection,
    DownwardAPIVolumeFile,
    EmptyDirVolumeSource,
    ImageVolumeSource,
    KeyToPath,
    ObjectFieldSelector,
    ProjectedVolumeSource,
    SecretProjection,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)
from kraftlet_trio.mapping.downward import Fields
from kraftlet_trio.mapping.file_contents import FileSources
from kraftlet_trio.mapping.files import (
    MOST_BYTES,
    MOST_FILES,
    MOST_ROMS,
    file_references,
    roms,
    tokens_wanted,
)
from kraftlet_trio.mapping.problems import ConfigurationProblem
from kraftlet_trio.simulators.cloud.instance_spec import read_roms
from kraftlet_trio.simulators.cloud.members import Members
from tests import strategies


def items(keys, paths):
    return st.lists(st.builds(KeyToPath, key=keys, path=paths), max_size=3).map(tuple)


def projected(keys, paths, optional):
    names = st.sampled_from(["one", "two"])
    objects = {"name": names, "items": items(keys, paths), "optional": optional}
    field = st.builds(ObjectFieldSelector, field_path=st.sampled_from(["metadata.name", "spec.x"]))
    source = st.one_of(
        st.builds(VolumeProjection, config_map=st.builds(ConfigMapProjection, **objects)),
        st.builds(VolumeProjection, secret=st.builds(SecretProjection, **objects)),
        st.builds(
            VolumeProjection,
            downward_api=st.builds(
                DownwardAPIProjection,
                items=st.lists(
                    st.builds(DownwardAPIVolumeFile, path=paths, field_ref=field), max_size=2
                ).map(tuple),
            ),
        ),
        st.builds(
            VolumeProjection,
            service_account_token=st.builds(ServiceAccountTokenProjection, path=paths),
        ),
        st.builds(VolumeProjection),
    )
    return st.builds(ProjectedVolumeSource, sources=st.lists(source, max_size=3).map(tuple))


def a_pod(volumes, mounts):
    container = Container(name="app", volume_mounts=tuple(mounts))
    metadata = ObjectMeta(name="web", namespace="team", uid="u")
    return Pod(metadata=metadata, spec=PodSpec(volumes=tuple(volumes))), container


def sources(pod, container, config_maps, secrets):
    return FileSources(
        fields=Fields(pod=pod, node_name="node", host_ip="192.0.2.1"),
        config_maps=config_maps,
        secrets=secrets,
        tokens=dict.fromkeys(tokens_wanted(pod, container), "jwt"),
    )


def contents(rom):
    return {
        one.path: base64.b64decode(one.data) if one.encoding else one.data.encode()
        for one in rom.files
    }


def as_a_kubelet(volume, config_maps, secrets):
    """The payload of a projected volume; None where it would not be mounted."""
    payload = {}
    for source in volume.projected.sources:
        one = source.config_map or source.secret
        if one is not None:
            found = (config_maps if source.config_map else secrets).get(one.name)
            if found is None and not one.optional:
                return None
            data = {} if found is None else found.data
            if source.config_map:
                data = {key: text.encode() for key, text in data.items()}
            else:
                data = {key: base64.b64decode(text) for key, text in data.items()}
            if not one.items:
                payload |= data
            for item in one.items:
                if item.key in data:
                    payload[item.path] = data[item.key]
                elif not one.optional:
                    return None
        elif source.downward_api is not None:
            for item in source.downward_api.items:
                if item.field_ref.field_path != "metadata.name":
                    return None
                payload[item.path] = b"web"
        elif source.service_account_token is not None:
            payload[source.service_account_token.path] = b"jwt"
        else:
            return None
    return payload


keys = st.sampled_from(["a", "b", "gone"])


@settings(max_examples=60, deadline=None)
@given(
    projected(keys, st.sampled_from(["x", "y", "d/x", "d/e/z"]), st.booleans()),
    strategies.config_maps(),
    strategies.secrets(),
)
def test_a_projected_volume_holds_what_a_kubelet_would_write(source, config_maps, secrets):
    volume = Volume(name="all", source="projected", projected=source)
    pod, container = a_pod([volume], [VolumeMount(name="all", mount_path="/etc/all")])
    wanted = as_a_kubelet(volume, config_maps, secrets)
    try:
        made = roms(pod, container, sources(pod, container, config_maps, secrets), {}).roms
    except ConfigurationProblem:
        assert wanted is None
        return
    assert wanted is not None
    assert [contents(rom) for rom in made] == ([wanted] if wanted else [])
    needed = file_references(pod, container)
    assert needed.config_maps | needed.secrets <= {"one", "two"}


@st.composite
def mounted(draw):
    """Volumes of several kinds, mounted in, beside and on top of each other, wholly or in part."""
    text = strategies.hostile_text()
    paths = st.one_of(st.sampled_from(["a", "b/c", "b", "../x", "/x", "a//b"]), text)
    volume = st.one_of(
        st.builds(
            Volume,
            name=st.sampled_from(["v", "w"]),
            source=st.just("projected"),
            projected=projected(st.one_of(keys, text), paths, st.booleans()),
        ),
        st.just(Volume(name="i", source="image", image=ImageVolumeSource(reference="model:1"))),
        st.just(Volume(name="e", source="emptyDir", empty_dir=EmptyDirVolumeSource())),
    )
    mount = st.builds(
        VolumeMount,
        name=st.sampled_from(["v", "w", "i", "e", "nobody"]),
        mount_path=st.one_of(
            st.sampled_from(["/m", "/m/", "/m/n", "/m/n/o", "/p/q/a", "/p/q", "/"]), text
        ),
        sub_path=st.one_of(st.just(""), paths),
        sub_path_expr=st.sampled_from(["", "", "$(A)", "$(GONE)"]),
    )
    return draw(st.lists(volume, max_size=4)), draw(st.lists(mount, max_size=11))


@settings(max_examples=80, deadline=None)
@given(mounted(), strategies.config_maps(), strategies.secrets())
def test_whatever_is_mounted_is_what_the_platform_takes_or_a_problem(
    volumes_and_mounts, config_maps, secrets
):
    pod, container = a_pod(*volumes_and_mounts)
    many = ConfigMap(data={f"k{number}": "x" for number in range(12)})
    every = sources(pod, container, {**config_maps, "two": many}, secrets)
    try:
        made = roms(pod, container, every, {"A": "b"}).roms
    except ConfigurationProblem:
        return
    read_roms([Members(unstructure(rom), "roms") for rom in made])
    assert len(made) <= MOST_ROMS
    assert len({rom.name for rom in made}) == len({rom.at for rom in made}) == len(made)
    for rom in made:
        assert not any(other.at.startswith(f"{rom.at}/") for other in made)
        if rom.files is not None:
            assert 0 < len(rom.files) <= MOST_FILES
            assert sum(map(len, contents(rom).values())) <= MOST_BYTES
            paths = [one.path for one in rom.files]
            assert len(set(paths)) == len(paths)
            assert not any(other.startswith(f"{one}/") for one in paths for other in paths)
