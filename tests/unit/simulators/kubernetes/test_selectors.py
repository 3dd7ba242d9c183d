from __future__ import annotations

import pytest

from kraftlet_trio.simulators.kubernetes.errors import ApiError
from kraftlet_trio.simulators.kubernetes.resources import CONFIG_MAPS, EVENTS, NODES, PODS
from kraftlet_trio.simulators.kubernetes.selectors import (
    label_selector,
    parse_labels,
    parse_selectors,
    selector_text,
)


def selects(labels, selector):
    return all(term.matches_labels(labels) for term in parse_labels(selector))


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web", True),
        ("app!=web", False),
        ("absent!=web", True),
        ("app=web,tier=back", False),
        ("app in (web, api)", True),
        ("app in (api)", False),
        ("app notin (api),tier", True),
        ("absent notin (api)", True),
        ("tier", True),
        ("!tier", False),
        ("! absent", True),
        ("empty=", True),
        ("tier=", False),
        ("example.com/part-of=shop", True),
    ],
)
def test_label_selectors(selector, expected):
    labels = {"app": "web", "tier": "front", "empty": "", "example.com/part-of": "shop"}
    assert selects(labels, selector) is expected


@pytest.mark.parametrize("selector", ["app in web", "=x", "a=b=c", "a=b c", "app in (web"])
def test_what_is_no_label_selector_is_refused(selector):
    with pytest.raises(ApiError) as refused:
        parse_labels(selector)
    assert refused.value.code == 400


POD = {
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"nodeName": "node-1", "restartPolicy": "Always"},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("spec.nodeName=node-1", True),
        ("spec.nodeName==node-2", False),
        ("spec.nodeName!=", True),
        ("spec.nodeName=node-1,status.phase!=Running", False),
        ("metadata.name=web,metadata.namespace=default", True),
        ("spec.hostNetwork=false", True),
        ("status.podIP=", True),
    ],
)
def test_field_selectors_of_pods(selector, expected):
    assert parse_selectors(PODS, fields=selector, labels="").matches(POD) is expected


def test_a_node_is_schedulable_unless_it_says_otherwise():
    selector = parse_selectors(NODES, fields="spec.unschedulable=true", labels="")
    assert not selector.matches({"metadata": {"name": "n"}, "spec": {}})
    assert selector.matches({"metadata": {"name": "n"}, "spec": {"unschedulable": True}})


def test_events_are_selected_by_what_they_are_about():
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "web", "uid": "1"},
        "source": {"component": "kubelet"},
    }
    fields = "involvedObject.name=web,involvedObject.uid=1,source=kubelet"
    assert parse_selectors(EVENTS, fields=fields, labels="").matches(event)


@pytest.mark.parametrize("fields", ["spec.nodeName=x", "data=x", "nonsense"])
def test_a_field_that_cannot_be_selected_by_is_refused(fields):
    with pytest.raises(ApiError) as refused:
        parse_selectors(CONFIG_MAPS, fields=fields, labels="")
    assert refused.value.code == 400


def test_a_selector_object_means_what_its_text_means():
    selector = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["front", "back"]},
            {"key": "old", "operator": "DoesNotExist"},
            {"key": "zone", "operator": "NotIn", "values": ["b"]},
            {"key": "app", "operator": "Exists"},
        ],
    }
    text = selector_text(selector)
    assert text == "app=web,tier in (back,front),!old,zone notin (b),app"
    assert parse_labels(text) == label_selector(selector)
