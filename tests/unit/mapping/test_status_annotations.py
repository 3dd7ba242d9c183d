import attrs
import pytest

from kraftlet_trio.cloud.objects import (
    DRAINING,
    RUNNING,
    STANDBY,
    STARTING,
    STOPPED,
    Domain,
    InstancePlugin,
    InstanceServiceGroup,
)
from kraftlet_trio.mapping.annotations import PodDefaults, pod_options
from kraftlet_trio.mapping.status_annotations import annotation_changes, status_annotations
from tests.builders import a_pod, a_sidecar, an_instance

URL = "https://api.fra.unikraft.cloud"
PREFIX = "cloud.unikraft.v1.instances/"
PLUGINS = (InstancePlugin(name="tracer"), InstancePlugin(name="sandbox"))
NAMES = PodDefaults(fqdn_annotations=True)


def noted(pod, *instances, defaults=PodDefaults()):  # noqa: B008 (immutable)
    by_name = {instance.name.removeprefix("web-"): instance for instance in instances}
    return {
        key.removeprefix(PREFIX): text
        for key, text in status_annotations(pod, by_name, pod_options(pod, defaults), URL).items()
    }


def changed(pod, *instances, defaults=PodDefaults()):  # noqa: B008 (immutable)
    by_name = {instance.name.removeprefix("web-"): instance for instance in instances}
    return {
        key.removeprefix(PREFIX): text
        for key, text in annotation_changes(pod, by_name, pod_options(pod, defaults), URL).items()
    }


def a_noted_pod(**annotations: str):
    return a_pod(annotations={PREFIX + key: text for key, text in annotations.items()})


def test_the_addresses_of_the_only_instances_plugins():
    assert noted(a_pod(), an_instance(plugins=PLUGINS)) == {
        "plugins.tracer.url": f"{URL}/v1/instances/uuid-of-app/plugins/tracer",
        "plugins.sandbox.url": f"{URL}/v1/instances/uuid-of-app/plugins/sandbox",
    }


@pytest.mark.parametrize("others", [{"containers": ["app", "side"]}, {"init": [a_sidecar()]}])
def test_among_several_containers_each_address_says_whose(others):
    assert noted(a_pod(**others), an_instance(plugins=PLUGINS[:1])) == {
        "plugins.app.tracer.url": f"{URL}/v1/instances/uuid-of-app/plugins/tracer",
    }


def test_an_ignored_container_does_not_count():
    pod = a_pod(containers=["app", "side"], annotations={PREFIX + "ignore": "side"})
    assert list(noted(pod, an_instance(plugins=PLUGINS[:1]))) == ["plugins.tracer.url"]


@pytest.mark.parametrize(
    ("state", "count"), [(RUNNING, 2), (STANDBY, 2), (DRAINING, 2), (STARTING, 0), (STOPPED, 0)]
)
def test_only_plugins_that_answer_have_addresses(state, count):
    assert len(noted(a_pod(), an_instance(state=state, plugins=PLUGINS))) == count


def test_a_key_that_no_api_server_takes_is_left_out():
    longest = "p" * (63 - len("plugins..url"))
    pod = a_pod(containers=["app", "c" * 63])
    assert noted(a_pod(), an_instance(plugins=[InstancePlugin(name=longest)]))
    assert not noted(a_pod(), an_instance(plugins=[InstancePlugin(name=longest + "p")]))
    assert not noted(pod, an_instance("c" * 63, plugins=PLUGINS))


def test_names_by_container():
    group = InstanceServiceGroup(domains=(Domain(fqdn="a.example."), Domain(fqdn="b.example")))
    pod = a_pod(containers=["app", "side", "new"])
    instances = (
        an_instance(private_fqdn="web-app.internal", service_group=group),
        an_instance("side", STOPPED, private_fqdn="web-side.internal"),
        an_instance("new", STARTING),
    )
    assert noted(pod, *instances, defaults=NAMES) == {
        "fqdns": '{"app":{"privateFqdn":"web-app.internal","serviceFqdn":"a.example"},'
        '"side":{"privateFqdn":"web-side.internal"}}'
    }
    assert noted(pod, *instances) == {}


def test_nothing_is_written_twice():
    instance = an_instance(plugins=PLUGINS, private_fqdn="web-app.internal")
    pod = a_pod()
    first = changed(pod, instance, defaults=NAMES)
    assert first.keys() == {"plugins.tracer.url", "plugins.sandbox.url", "fqdns"}
    assert changed(a_noted_pod(**first), instance, defaults=NAMES) == {}


def test_an_address_stays_while_its_instance_restarts_and_goes_with_it():
    instance = an_instance(plugins=PLUGINS[:1])
    pod = a_noted_pod(**changed(a_pod(), instance), **{"plugins.side.tracer.url": "gone"})
    key, stranger = "plugins.tracer.url", "plugins.side.tracer.url"
    assert changed(pod, attrs.evolve(instance, state=STOPPED)) == {stranger: None}
    assert changed(pod) == {key: None, stranger: None}
    assert changed(pod, attrs.evolve(instance, uuid="new"))[key].endswith("/new/plugins/tracer")
    assert changed(pod, attrs.evolve(instance, plugins=())) == {key: None, stranger: None}


def test_what_others_note_is_left_alone():
    assert changed(a_noted_pod(template="x", plugins="y", **{"plugins.url": "z"})) == {}
