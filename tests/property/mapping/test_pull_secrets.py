"""Which credentials an image is pulled with, held against a small model of kubelet's keyring."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.kubernetes.objects import ObjectMeta, Secret
from kraftlet_trio.mapping.pull_secrets import pull_credentials
from kraftlet_trio.registry.reference import parse_reference

TYPES = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}
LABELS = st.sampled_from(["a", "ab", "b", "docker", "io", "index"])
PATTERNS = st.sampled_from(["*", "a*", "*b", "[ab]", "[^a]"])
PORTS = st.sampled_from(["", ":80", ":5000"])
PATHS = st.sampled_from(["", "a", "a/b", "ab", "library", "library/a", "b/a/b"])
HUB = ["docker.io", "index.docker.io", "registry-1.docker.io"]

Entry = tuple[str, str]
"""What a credential is for, and its user."""


def hosts(labels: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    dotted = st.lists(labels, min_size=2, max_size=3).map(".".join)
    return st.one_of(st.tuples(dotted, PORTS).map("".join), st.sampled_from(HUB))


@st.composite
def images(draw: st.DrawFn) -> str:
    path = draw(PATHS.filter(bool))
    host = draw(st.one_of(st.just(""), hosts(LABELS)))
    return (f"{host}/{path}" if host else path) + draw(st.sampled_from(["", ":1"]))


@st.composite
def locations(draw: st.DrawFn) -> str:
    scheme = draw(st.sampled_from(["", "https://", "http://"]))
    version = draw(st.sampled_from(["", "/v1", "/v2", "/v3"]))
    path = draw(st.one_of(st.just(""), PATHS.map(lambda path: "/" + path)))
    return scheme + draw(hosts(st.one_of(LABELS, PATTERNS))) + version + path


def written(entries: Sequence[Entry], kind: str) -> Secret:
    auths = {
        location: {"auth": base64.b64encode(f"{user}:secret".encode()).decode()}
        for location, user in entries
    }
    document = {"auths": auths} if kind.endswith("json") else auths
    data = base64.b64encode(json.dumps(document).encode()).decode()
    return Secret(metadata=ObjectMeta(name="pull"), type=kind, data={TYPES[kind]: data})


def keyring(image: str, entries: Sequence[Entry]) -> set[str]:
    """The model: users whose credentials kubelet would try, in no order."""
    matching = {user for location, user in entries if fits(place(location), full_name(image))}
    if matching or not full_name(image).startswith("docker.io/"):
        return matching
    return {user for location, user in entries if place(location) in HUB[1:]}


def full_name(image: str) -> str:
    name = re.sub(r":1$", "", image)
    first = name.split("/")[0]
    if "/" not in name or not re.search(r"[.:]", first):
        name = "docker.io/" + name
    name = re.sub(r"^index\.docker\.io/", "docker.io/", name)
    return re.sub(r"^docker\.io/([^/]+)$", r"docker.io/library/\1", name)


def place(location: str) -> str:
    host, slash, rest = re.sub(r"^https?://", "", location).partition("/")
    path = re.sub(r"^/v[12]/", "/", slash + rest)
    return host if path == "/" else host + path


def fits(pattern: str, name: str) -> bool:
    expression = "".join(
        {"*": "[^./:]*", ".": r"\."}.get(char, char) for char in pattern.split("/")[0]
    )
    path = "/".join(pattern.split("/")[1:])
    host, _, rest = name.partition("/")
    return bool(re.fullmatch(expression, host)) and rest.startswith(path)


@settings(max_examples=300)
@given(
    images(),
    st.lists(
        st.tuples(
            st.lists(st.tuples(locations(), st.sampled_from("abcd")), max_size=4),
            st.sampled_from(sorted(TYPES)),
        ),
        max_size=3,
    ),
)
def test_the_candidates_are_those_of_kubelets_keyring(image, secrets):
    unique = [(list(dict(entries).items()), kind) for entries, kind in secrets]
    found = pull_credentials(parse_reference(image), [written(*secret) for secret in unique])
    users = [credential.username for credential in found.candidates]
    every = [entry for entries, _ in unique for entry in entries]
    assert len(set(users)) == len(users)
    assert set(users) == keyring(image, every)
    assert not found.warnings


@settings(max_examples=100)
@given(images(), st.lists(locations(), min_size=1, max_size=5, unique=True))
def test_of_two_keys_for_one_host_the_longer_goes_first(image, keys):
    entries = [(key, str(number)) for number, key in enumerate(keys)]
    found = pull_credentials(
        parse_reference(image), [written(entries, "kubernetes.io/dockerconfigjson")]
    )
    places = [place(keys[int(credential.username)]) for credential in found.candidates]
    for earlier, later in pairwise(places):
        assert not (later.startswith(earlier) and later != earlier)


@settings(max_examples=100)
@given(st.sampled_from(sorted(TYPES)), st.one_of(st.text(), st.binary().map(repr), st.just("{}")))
def test_no_content_breaks_it(kind, text):
    data = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
    secret = Secret(metadata=ObjectMeta(name="pull"), type=kind, data={TYPES[kind]: data})
    assert pull_credentials(parse_reference("a.b/c"), [secret]).candidates == ()
