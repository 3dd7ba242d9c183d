"""Image references: what is parsed can be written and parsed again, and nothing breaks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.registry.reference import (
    ImageReference,
    InvalidReference,
    parse_reference,
)

DOMAINS = st.from_regex(
    r"[a-zA-Z0-9]{1,5}(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,2}[a-z])?)?(:[0-9]{1,5})?", fullmatch=True
)
PATHS = st.from_regex(r"[a-z0-9]{1,4}(([._]|__|-{1,3}|/)[a-z0-9]{1,4}){0,4}", fullmatch=True)
TAGS = st.one_of(
    st.just(""), st.from_regex(r"[\w][\w.-]{0,10}", fullmatch=True).filter(str.isascii)
)
DIGESTS = st.one_of(st.just(""), st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True))


def as_docker_writes_it(reference: ImageReference) -> str:
    """Its familiar name."""
    tag = f":{reference.tag}" if reference.tag else ""
    digest = f"@{reference.digest}" if reference.digest else ""
    path = reference.path
    if reference.domain != "docker.io":
        path = reference.repository
    elif not path.removeprefix("library/").count("/"):
        path = path.removeprefix("library/")
    return path + tag + digest


@settings(max_examples=200)
@given(DOMAINS, PATHS, TAGS, DIGESTS)
def test_a_full_name_and_a_familiar_one_are_read_as_the_same(domain, path, tag, digest):
    text = f"{domain}/{path}" + (tag and f":{tag}") + (digest and f"@{digest}")
    reference = parse_reference(text)
    assert parse_reference(str(reference)) == reference
    assert parse_reference(as_docker_writes_it(reference)) == reference
    assert (reference.tag, reference.digest) == (tag, digest)
    if reference.domain_written and domain != "docker.io":
        assert str(reference) == text


@settings(max_examples=300)
@given(
    st.one_of(
        st.text(),
        st.text(alphabet="ab.:/@_-A0[]", max_size=30),
        st.tuples(PATHS, st.text(max_size=3), PATHS).map("".join),
    )
)
def test_any_text_is_either_a_reference_or_refused(text):
    try:
        reference = parse_reference(text)
    except InvalidReference:
        return
    assert parse_reference(str(reference)) == reference
    assert "\n" not in str(reference)
