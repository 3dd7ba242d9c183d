"""What registering does to a Node that exists already."""

import attrs

from kraftlet_trio.kubernetes.objects import Node, NodeSpec, ObjectMeta, Taint
from kraftlet_trio.kubernetes.serialization import structure
from kraftlet_trio.node.registration import (
    APPLIED_ANNOTATION,
    adoption_patch,
    ignored_labels,
    labels,
    new_node,
    taint_operations,
)
from kraftlet_trio.node.settings import DEFAULT_TAINT, NodeSettings

SETTINGS = NodeSettings(
    name="n", version="0.1.0", labels={"team": "a"}, annotations={"note": "hello"}
)
FOREIGN = Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule")


def made(settings, *foreign_taints):
    node = structure(new_node(settings), Node)
    return attrs.evolve(
        node,
        metadata=attrs.evolve(node.metadata, uid="u", resource_version="7"),
        spec=attrs.evolve(node.spec, taints=(*foreign_taints, *node.spec.taints)),
    )


def test_built_in_labels_and_ours():
    assert labels(SETTINGS) == {
        "kubernetes.io/hostname": "n",
        "kubernetes.io/role": "agent",
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "type": "kubelet",
        "unikraft.com/virtual-kubelet": "true",
        "team": "a",
    }


def test_settings_override_built_in_labels_but_not_the_nodes_identity():
    settings = attrs.evolve(
        SETTINGS,
        labels={
            "type": "virtual-kubelet",
            "kubernetes.io/hostname": "other",
            "unikraft.com/virtual-kubelet": "false",
        },
    )
    assert ignored_labels(settings) == ["kubernetes.io/hostname", "unikraft.com/virtual-kubelet"]
    assert ignored_labels(SETTINGS) == []
    given = labels(settings)
    assert given["type"] == "virtual-kubelet"
    assert given["kubernetes.io/hostname"] == "n"
    assert given["unikraft.com/virtual-kubelet"] == "true"


def test_node_that_is_as_wanted_is_left_alone():
    node = made(SETTINGS, FOREIGN)
    assert adoption_patch(node, SETTINGS) == {}
    assert taint_operations(node, SETTINGS) == []


def test_bare_node_gets_everything_once():
    node = Node(metadata=ObjectMeta(name="n", uid="u", resource_version="1"))
    patch = adoption_patch(node, SETTINGS)
    assert patch["metadata"]["uid"] == "u"
    assert patch["metadata"]["labels"] == labels(SETTINGS)
    assert patch["metadata"]["annotations"]["note"] == "hello"
    assert patch["spec"] == {"providerID": "unikraft://n"}
    assert taint_operations(node, SETTINGS) == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "1"},
        {
            "op": "add",
            "path": "/spec/taints",
            "value": [
                {"key": "virtual-kubelet.io/provider", "value": "ukc", "effect": "NoSchedule"}
            ],
        },
    ]


def test_what_left_the_settings_leaves_the_node_and_nothing_else_does():
    node = made(SETTINGS)
    node = attrs.evolve(
        node,
        metadata=attrs.evolve(
            node.metadata,
            labels={**node.metadata.labels, "foreign": "x"},
            annotations={**node.metadata.annotations, "foreign": "x"},
        ),
    )
    patch = adoption_patch(node, attrs.evolve(SETTINGS, labels={}, annotations={}))
    assert patch["metadata"]["labels"] == {"team": None}
    assert patch["metadata"]["annotations"].keys() == {"note", APPLIED_ANNOTATION}
    assert patch["metadata"]["annotations"]["note"] is None


def test_provider_id_is_written_once_only():
    node = Node(metadata=ObjectMeta(name="n"), spec=NodeSpec(provider_id="other://n"))
    assert "spec" not in adoption_patch(node, SETTINGS)


def test_taint_that_was_switched_off_is_removed_from_among_foreign_ones():
    last = Taint(key="last", effect="NoExecute")
    node = made(SETTINGS, FOREIGN)
    node = attrs.evolve(node, spec=attrs.evolve(node.spec, taints=(*node.spec.taints, last)))
    assert taint_operations(node, attrs.evolve(SETTINGS, taint=None))[1:] == [
        {"op": "remove", "path": "/spec/taints/1"}
    ]


def test_taint_is_moved_or_changed_in_place():
    renamed = attrs.evolve(SETTINGS, taint=Taint(key="mine", value="v", effect="NoExecute"))
    assert [
        operation["op"] for operation in taint_operations(made(SETTINGS, FOREIGN), renamed)
    ] == [
        "test",
        "remove",
        "add",
    ]
    revalued = attrs.evolve(SETTINGS, taint=attrs.evolve(DEFAULT_TAINT, value="other"))
    assert taint_operations(made(SETTINGS, FOREIGN), revalued)[1]["op"] == "replace"


def test_foreign_taint_of_the_same_key_survives_when_it_was_never_ours():
    theirs = attrs.evolve(DEFAULT_TAINT, effect="NoExecute")
    node = Node(metadata=ObjectMeta(name="n"), spec=NodeSpec(taints=(theirs,)))
    operations = taint_operations(node, SETTINGS)
    assert [operation["op"] for operation in operations] == ["test", "add"]
    assert operations[1]["path"] == "/spec/taints/-"


def test_spoilt_note_means_nothing_was_ours():
    node = made(SETTINGS)
    annotations = {**node.metadata.annotations, APPLIED_ANNOTATION: '{"labels": 3}'}
    node = attrs.evolve(node, metadata=attrs.evolve(node.metadata, annotations=annotations))
    patch = adoption_patch(node, attrs.evolve(SETTINGS, labels={}))
    assert "labels" not in patch["metadata"]
