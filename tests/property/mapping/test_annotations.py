import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.kubernetes.objects import ObjectMeta
from kraftlet_trio.mapping.annotations import (
    POD_PREFIX,
    PodOptions,
    lasting_containers,
    pod_options,
)
from tests.builders import a_pod, a_sidecar
from tests.strategies import hostile_metadata, hostile_pods, pod_annotations


def options_of(annotations):
    pod = a_pod(containers=["app", "side"], init=["setup", a_sidecar()], annotations=annotations)
    return pod_options(pod)


def without(annotations, problems):
    """*annotations* without what *problems* find fault with: whole values, or items of a list."""
    rest = dict(annotations)
    for problem in problems:
        items = [item.strip() for item in rest[problem.key].split(",")]
        if problem.value in items and len(items) > 1:
            kept = [item for item in items if item != problem.value]
            rest[problem.key] = ",".join(kept)
        else:
            del rest[problem.key]
    return rest


@given(pod_annotations())
def test_what_is_reported_has_no_effect(annotations):
    options = options_of(annotations)
    cleared = options_of(without(annotations, options.problems + options.blocking))
    assert cleared == attrs.evolve(options, problems=(), blocking=())


@given(pod_annotations())
def test_blank_annotations_are_absent_ones(annotations):
    assert options_of(dict.fromkeys(annotations, " ")) == options_of({})


@given(pod_annotations())
def test_problems_name_key_value_and_cure(annotations):
    options = options_of(annotations)
    for problem in options.problems + options.blocking:
        assert problem.value in annotations[problem.key]
        assert problem.key in problem.message
        assert problem.message.endswith(problem.cure)
        assert problem.message.isprintable()


@given(pod_annotations())
def test_a_notice_is_shorter_than_its_cooldown(annotations):
    options = options_of(annotations)
    for container in ("app", "side", "proxy"):
        sleep = options.of(container).scale_to_zero
        assert sleep.notify_time_ms is None or 0 < sleep.notify_time_ms < sleep.cooldown_time_ms


@settings(max_examples=20)
@given(hostile_pods())
def test_only_our_annotations_of_a_pod_are_reported_and_each_once(pod):
    options = pod_options(pod)
    keys = [problem.key for problem in options.problems]
    assert len(set(keys)) == len(keys)
    faults = options.problems + options.blocking
    assert len(set(faults)) == len(faults)
    assert all(problem.key.startswith(POD_PREFIX) for problem in faults)
    assert options.ignored <= {container.name for container in lasting_containers(pod)}


@given(hostile_metadata(), st.text(max_size=5))
def test_options_of_any_container_can_be_asked_for(metadata, name):
    pod = attrs.evolve(a_pod(), metadata=metadata)
    assert pod_options(pod).of(name) is not None
    assert PodOptions().of(name) == pod_options(attrs.evolve(pod, metadata=ObjectMeta())).of(name)
