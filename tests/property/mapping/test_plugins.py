import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kraftlet_trio.cloud.objects import InstancePlugin
from kraftlet_trio.kubernetes.objects import ConfigMap
from kraftlet_trio.mapping.annotations import ContainerOptions, PluginList, PodOptions, pod_options
from kraftlet_trio.mapping.plugins import MOST_PLUGINS, plugins_of
from kraftlet_trio.mapping.problems import ConfigurationProblem
from kraftlet_trio.mapping.status_annotations import status_annotations
from tests.builders import a_container, a_pod, an_instance

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["tracer", "a.b", "me/tracer"]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
fields = st.sampled_from(["name", "image", "rom", "config", "more"])
lists = st.lists(st.dictionaries(fields, values, max_size=4) | values, max_size=10)
plugin_names = st.sampled_from(["a", "url", "app", "a_b", "p" * 20])


@settings(max_examples=50)
@given(st.text(max_size=20) | lists.map(json.dumps), st.booleans())
@example("[" * 5000, True)
@example("\ud800", False)
def test_whatever_a_config_map_holds_the_platform_takes_the_plugins(text, enable_exec):
    options = PodOptions(
        enable_exec=enable_exec,
        of_containers={"app": ContainerOptions(plugins=PluginList("tools"))},
    )
    try:
        plugins = plugins_of(a_container(), options, ConfigMap(data={"list": text})).requests
    except ConfigurationProblem:
        return
    names = [plugin.name for plugin in plugins]
    assert len(set(names)) == len(names) <= MOST_PLUGINS
    assert all(plugin.image for plugin in plugins)
    assert ("sandbox" in names) >= enable_exec


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(["app", "url", "a", "a-b"]), st.sets(plugin_names), min_size=1, max_size=3
    )
)
def test_every_plugin_has_an_annotation_of_its_own_that_no_reader_takes_for_a_wish(attached):
    pod = a_pod(containers=list(attached))
    instances = {
        name: an_instance(name, plugins=tuple(InstancePlugin(name=one) for one in plugins))
        for name, plugins in attached.items()
    }
    noted = status_annotations(pod, instances, pod_options(pod), "https://api")
    assert len(set(noted.values())) == len(noted) == sum(map(len, attached.values()))
    options = pod_options(a_pod(containers=list(attached), annotations=noted))
    assert options == pod_options(pod)
