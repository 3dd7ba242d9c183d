import base64
import json

import pytest

from kraftlet_trio.kubernetes.objects import ObjectMeta, Secret
from kraftlet_trio.mapping.pull_secrets import missing_pull_secrets, pull_credentials
from kraftlet_trio.registry.objects import Credential
from kraftlet_trio.registry.reference import parse_reference

JSON_TYPE, JSON_KEY = "kubernetes.io/dockerconfigjson", ".dockerconfigjson"
CFG_TYPE, CFG_KEY = "kubernetes.io/dockercfg", ".dockercfg"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(auths: object, name: str = "pull") -> Secret:
    return raw_secret(json.dumps({"auths": auths}), name=name)


def raw_secret(text: str, *, name: str = "pull", type: str = JSON_TYPE, key: str = JSON_KEY):
    return Secret(metadata=ObjectMeta(name=name), type=type, data={key: encoded(text)})


def user(name: str) -> dict[str, str]:
    return {"username": name, "password": "s3cret"}


def users(image: str, *secrets: Secret) -> list[str]:
    """Names of those whose credentials *image* is pulled with, in turn."""
    found = pull_credentials(parse_reference(image), secrets)
    return [credential.username for credential in found.candidates]


@pytest.mark.parametrize(
    ("key", "image"),
    [
        ("ghcr.io", "ghcr.io/team/app"),
        ("https://ghcr.io", "ghcr.io/team/app"),
        ("http://ghcr.io/", "ghcr.io/team/app"),
        ("https://ghcr.io/v1/", "ghcr.io/team/app"),
        ("ghcr.io/v2/", "ghcr.io/team/app"),
        ("ghcr.io/team", "ghcr.io/team/app"),
        ("ghcr.io/v2/team/app", "ghcr.io/team/app:1"),
        ("ghcr.io/te", "ghcr.io/team/app"),
        ("registry.test:5000", "registry.test:5000/app"),
        ("*.registry.test", "eu.registry.test/app"),
        ("*.registry.test:5000/team", "eu.registry.test:5000/team/app"),
        ("r*.*.test", "registry.eu.test/app"),
        ("registry[12].test", "registry2.test/app"),
        ("registry[^1].test", "registry2.test/app"),
        ("docker.io", "nginx"),
        ("index.docker.io", "nginx"),
        ("https://index.docker.io/v1/", "nginx"),
        ("https://index.docker.io/v1/", "docker.io/team/app"),
        ("https://index.docker.io/v1/", "index.docker.io/team/app"),
        ("registry-1.docker.io", "nginx"),
        ("docker.io/library", "nginx"),
    ],
)
def test_a_key_matches(key, image):
    assert users(image, secret({key: user("a")})) == ["a"]


@pytest.mark.parametrize(
    ("key", "image"),
    [
        ("ghcr.io", "quay.io/team/app"),
        ("ghcr.io/other", "ghcr.io/team/app"),
        ("ghcr.io/team/app/more", "ghcr.io/team/app"),
        ("registry.test", "registry.test:5000/app"),
        ("registry.test:5001", "registry.test:5000/app"),
        ("registry.test:5000", "registry.test/app"),
        ("*.test", "eu.registry.test/app"),
        ("*", "eu.registry.test/app"),
        ("registry[12].test", "registry3.test/app"),
        ("https://index.docker.io/v1/", "ghcr.io/team/app"),
        ("index.docker.io/v1", "nginx"),
        # In a URL a question mark begins the query, and so it is no wildcard.
        ("registry?.test", "registry1.test/app"),
        ("", "nginx"),
    ],
)
def test_a_key_does_not_match(key, image):
    assert users(image, secret({key: user("a")})) == []


def test_the_more_particular_goes_first_and_all_that_match_follow():
    auths = {
        "ghcr.io": user("host"),
        "*.io": user("wildcard"),
        "ghcr.io/team/app": user("repository"),
        "ghcr.io/team": user("team"),
        "quay.io": user("other"),
    }
    assert users("ghcr.io/team/app:1", secret(auths)) == ["repository", "team", "host", "wildcard"]


def test_secrets_with_the_same_key_go_in_the_pods_order():
    secrets = secret({"ghcr.io": user("b")}), secret({"https://ghcr.io/v2/": user("a")})
    assert users("ghcr.io/team/app", *secrets) == ["b", "a"]


def test_the_same_credential_is_tried_once():
    auths = {"ghcr.io": user("a"), "ghcr.io/team": user("a")}
    assert users("ghcr.io/team/app", secret(auths), secret(auths)) == ["a"]


def test_docker_hubs_index_entry_is_for_want_of_a_direct_match():
    auths = {"https://index.docker.io/v1/": user("index"), "docker.io/library": user("direct")}
    assert users("nginx", secret(auths)) == ["direct"]
    assert users("team/app", secret(auths)) == ["index"]


def test_the_older_type_has_its_entries_at_the_top():
    older = raw_secret(json.dumps({"ghcr.io": user("a")}), type=CFG_TYPE, key=CFG_KEY)
    assert users("ghcr.io/team/app", older) == ["a"]


@pytest.mark.parametrize("auth", [encoded("me:s3:cret"), encoded("me:s3:cret").rstrip("=")])
def test_auth_goes_before_user_and_password(auth):
    entry = {"auth": auth, "username": "other", "password": "x"}
    found = pull_credentials(parse_reference("ghcr.io/a/b"), [secret({"ghcr.io": entry})])
    assert found.candidates == (Credential(username="me", password="s3:cret"),)


def test_an_identity_token_is_a_credential():
    entry = {"auth": encoded("me:"), "identitytoken": "t0ken"}
    found = pull_credentials(parse_reference("ghcr.io/a/b"), [secret({"ghcr.io": entry})])
    assert found.candidates == (Credential(username="me", identity_token="t0ken"),)


@pytest.mark.parametrize("entry", [{}, {"email": "a@b.c"}, {"username": None, "auth": ""}])
def test_an_entry_without_a_credential_is_none(entry):
    found = pull_credentials(parse_reference("ghcr.io/a/b"), [secret({"ghcr.io": entry})])
    assert found.candidates == ()
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (raw_secret("{not json s3cret", name="bad"), "is not JSON"),
        (raw_secret("[]", name="bad"), "not a JSON object"),
        (raw_secret("[" * 100_000, name="bad"), "is not JSON"),
        (secret(["s3cret"], name="bad"), "auths in .dockerconfigjson is not"),
        (secret({"ghcr.io": "s3cret"}, name="bad"), "an entry of it is not"),
        (secret({"ghcr.io": {"password": ["s3cret"]}}, name="bad"), "password in an entry"),
        (secret({"ghcr.io": {"auth": "s3cret!"}}, name="bad"), "is not base64"),
        (secret({"ghcr.io": {"auth": encoded("s3cret")}}, name="bad"), "a user and a password"),
        (raw_secret("{}", name="bad", key="config.json"), "has no key .dockerconfigjson"),
        (raw_secret("{}", name="bad", type="Opaque"), 'type is "Opaque"'),
        (Secret(metadata=ObjectMeta(name="bad"), type=JSON_TYPE, data={JSON_KEY: "?"}), "not JSON"),
    ],
)
def test_a_malformed_secret_is_named_and_the_others_count(bad, why):
    good = secret({"ghcr.io": user("a")})
    found = pull_credentials(parse_reference("ghcr.io/a/b"), [bad, good])
    assert [credential.username for credential in found.candidates] == ["a"]
    (warning,) = found.warnings
    assert warning.reason == "FailedToRetrieveImagePullSecret"
    assert '"bad"' in warning.message
    assert why in warning.message
    assert "s3cret" not in warning.message
    assert encoded("s3cret") not in warning.message


def test_a_secret_without_entries_is_no_fault():
    assert pull_credentials(parse_reference("ghcr.io/a/b"), [raw_secret("{}")]).warnings == ()


def test_missing_secrets_are_told_in_the_kubelets_words():
    warning = missing_pull_secrets(["a", "b"])
    assert warning.reason == "FailedToRetrieveImagePullSecret"
    assert warning.message == (
        "Unable to retrieve some image pull secrets (a, b); attempting to pull the image may not "
        "succeed."
    )
