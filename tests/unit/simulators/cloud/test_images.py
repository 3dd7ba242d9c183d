import pytest

from kraftlet_trio.simulators.cloud.images import (
    CatalogueError,
    ImageCatalogue,
    ImageEntry,
    ImageName,
)


@pytest.mark.parametrize(
    ("url", "repository", "tag"),
    [
        ("nginx", "nginx", "latest"),
        ("nginx:1.25", "nginx", "1.25"),
        ("oci://host:5000/team/web:1", "host:5000/team/web", "1"),
        ("host:5000/web", "host:5000/web", "latest"),
    ],
)
def test_references_come_apart(url, repository, tag):
    name = ImageName.parse(url)
    assert (name.repository, name.tag) == (repository, tag)
    assert name.resolved.startswith(f"{repository}@sha256:")


def test_digest_is_a_function_of_repository_and_tag():
    assert ImageName.parse("a:1").resolved == ImageName.parse("oci://a:1").resolved
    assert ImageName.parse("a:1").resolved != ImageName.parse("a:2").resolved
    assert ImageName.parse("a:1@sha256:00").resolved == "a@sha256:00"


CATALOGUE = ImageCatalogue.parse(
    """
images:
  "nginx:*": {exit_code: 1}
  nginx:1.25: {exit_code: 2}
  team/job: {exit_code: 3}
  "*": {exit_code: 4}
"""
)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("nginx", 1),
        ("docker.io/library/nginx:1.26", 1),
        ("docker.io/library/nginx:1.25", 2),
        ("team/job:9", 3),
        ("other/team/job", 4),
    ],
)
def test_exact_patterns_go_before_wildcards(url, code):
    assert CATALOGUE.find(ImageName.parse(url)).exit_code == code


def test_unknown_image_has_no_entry():
    assert ImageCatalogue({}).find(ImageName.parse("x")) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[", "not YAML"),
        ("nothing: 1", "images"),
        ("images: {a: {colour: red}}", "colour"),
        ("images: {a: {entrypoint: run me}}", "entrypoint"),
        ("images: {a: {pull: maybe}}", "pull"),
        ("images: {a: {exits: [x]}}", "exits"),
    ],
)
def test_wrong_catalogues_are_explained(text, complaint):
    with pytest.raises(CatalogueError, match=complaint):
        ImageCatalogue.parse(text)


def test_arguments_replace_those_of_the_image():
    entry = ImageEntry(entrypoint=("run",), cmd=("a",))
    assert entry.command_line(None) == ["run", "a"]
    assert entry.command_line(()) == ["run"]
    assert entry.command_line(("b", "c")) == ["run", "b", "c"]


@pytest.mark.parametrize("url", ["nginx:alpine", "busybox", "docker.io/library/alpine", "sleeper"])
def test_default_catalogue_knows_the_usual_images(url):
    assert ImageCatalogue.default().find(ImageName.parse(url)) is not None
