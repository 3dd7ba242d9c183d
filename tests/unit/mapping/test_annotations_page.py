"""The page for users and the code name the same annotations."""

import re
from pathlib import Path

from kraftlet_trio.kubernetes.objects import ObjectMeta, Service
from kraftlet_trio.mapping.annotations import POD_PREFIX, pod_options
from kraftlet_trio.mapping.service_annotations import SERVICE_PREFIX, service_options
from tests.builders import a_pod

PAGE = (Path(__file__).parents[3] / "docs" / "annotations.md").read_text()
POD_PART, SERVICE_PART = PAGE.split("## On Services")


def documented(part: str) -> set[str]:
    """Keys in the first columns of tables, with the container's name and port in place."""
    cells = re.findall(r"^\| (`[^|]+) \|", part, re.MULTILINE)
    keys = {key for cell in cells for key in re.findall(r"`([^`]+)`", cell)}
    return {key.replace("<container>", "app").replace("<port>", "80") for key in keys}


def test_every_annotation_of_a_pod_is_documented_and_nothing_else():
    [unknown] = pod_options(a_pod(annotations={POD_PREFIX + "x": "x"})).problems
    proposed = set(re.findall(r"[\w.-]+", unknown.cure.partition("known: ")[2]))
    keys = documented(POD_PART)
    assert proposed <= keys
    written = {key for key in keys if key.endswith(".url") or key in ("service-groups", "fqdns")}
    of_one = {"scale_to_zero.<…>.app"}
    assert keys - written - of_one - proposed == {"template.app", "plugins.app"}
    asked = {POD_PREFIX + key: "" for key in keys - of_one}
    assert pod_options(a_pod(annotations=asked)).problems == ()


def test_every_annotation_of_a_service_is_documented_and_nothing_else():
    def problems(*keys):
        annotations = {SERVICE_PREFIX + key: "" for key in keys}
        return service_options(Service(metadata=ObjectMeta(annotations=annotations))).problems

    [unknown] = problems("x")
    proposed = set(re.findall(r"[\w.<>-]+", unknown.cure.partition("known: ")[2]))
    keys = documented(SERVICE_PART)
    assert {key.replace("<port>", "80") for key in proposed} | {"domain.app"} == keys
    assert problems(*keys) == ()
