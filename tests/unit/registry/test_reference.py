import pytest

from kraftlet_trio.registry.reference import ImageReference, InvalidReference, parse_reference

SHA256 = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("nginx", "docker.io/library/nginx"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("team/app", "docker.io/team/app"),
        ("docker.io/nginx", "docker.io/library/nginx"),
        ("index.docker.io/nginx:1", "docker.io/library/nginx:1"),
        ("index.docker.io/team/app", "docker.io/team/app"),
        ("ghcr.io/team/app:v1", "ghcr.io/team/app:v1"),
        ("registry.test:5000/app", "registry.test:5000/app"),
        ("localhost/app:1", "localhost/app:1"),
        ("localhost:5000/a/b/c:1", "localhost:5000/a/b/c:1"),
        ("Registry/app", "Registry/app"),
        ("[::1]:5000/app", "[::1]:5000/app"),
        (f"nginx@{SHA256}", f"docker.io/library/nginx@{SHA256}"),
        (f"ghcr.io/a/b:1@{SHA256}", f"ghcr.io/a/b:1@{SHA256}"),
        ("a.b/c__d/e---f.g_h", "a.b/c__d/e---f.g_h"),
    ],
)
def test_a_reference_gets_its_full_name(text, full):
    assert str(parse_reference(text)) == full


def test_the_parts_of_a_reference():
    assert parse_reference(f"ghcr.io:443/team/app:v1@{SHA256}") == ImageReference(
        domain="ghcr.io:443", path="team/app", tag="v1", digest=SHA256
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [("nginx", False), ("team/app", False), ("docker.io/nginx", True), ("ghcr.io/a/b", True)],
)
def test_whether_a_registry_was_named_is_remembered(text, written):
    assert parse_reference(text).domain_written is written


def test_a_registry_is_asked_for_the_digest_before_the_tag():
    assert parse_reference(f"a.b/c:1@{SHA256}").version == SHA256
    assert parse_reference("a.b/c:1").version == "1"
    assert parse_reference("a.b/c").version == "latest"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no repository"),
        ("docker.io/", "no repository"),
        ("Nginx", "upper-case"),
        ("ghcr.io/Team/app", "upper-case"),
        ("a//b", "lower-case letters and digits"),
        ("nginx ", "lower-case letters and digits"),
        ("-nginx", "lower-case letters and digits"),
        ("a..b/c", "not a host name"),
        ("ghcr.io:http/app", "not a host name"),
        ("[::1/app", "not a host name"),
        ("nginx:", "its tag"),
        ("nginx:a b", "its tag"),
        ("nginx:" + "t" * 129, "its tag"),
        ("nginx@sha256:abc", "its digest"),
        (f"nginx@{SHA256.upper()}", "its digest"),
        ("nginx@md5:" + "a" * 32, "its digest"),
        ("a" * 256, "longer than 255"),
        ("ab" * 32, "an image's id"),
    ],
)
def test_what_is_no_reference_is_refused_with_the_reason(text, why):
    with pytest.raises(InvalidReference, match=why):
        parse_reference(text)


@pytest.mark.parametrize("text", ["a-" * 100_000, "a" * 200_000 + "/!", "a.b/" + "_" * 200_000])
def test_long_nonsense_is_refused_in_no_time(text):
    with pytest.raises(InvalidReference):
        parse_reference(text)
