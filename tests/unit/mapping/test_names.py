import pytest

from kraftlet_trio.mapping.names import (
    Naming,
    NodeIdentity,
    container_of,
    instance_tags,
    persistent_volume_name,
    pod_uid_of,
    sanitize_tag,
    volume_tags,
)

READABLE = Naming()


def test_names_in_the_default_namespace_are_the_owners_own():
    assert READABLE.instance("default", "nginx-pod", "nginx") == "nginx-pod-nginx"
    assert READABLE.service_group("default", "my-svc", None, services={"my-svc"}) == "my-svc"
    assert READABLE.volume("default", "my-claim") == "my-claim"


def test_each_container_of_several_has_its_group():
    names = {
        READABLE.service_group("default", "my-svc", container, services={"my-svc"})
        for container in ("app", "sidecar")
    }
    assert names == {"my-svc-app", "my-svc-sidecar"}


def test_names_are_the_same_for_ever():
    """They are how a new release finds what an old one made."""
    assert READABLE.instance("team-a", "nginx-pod", "nginx") == "nginx-pod-nginx-u7jlme5i"
    assert READABLE.volume("team-a", "my-claim") == "my-claim-qg5yr62p"
    assert READABLE.service_group("team-a", "my-svc", None, services=()) == "my-svc-yvaywl6c"
    hashed = Naming(hashed=True).volume("default", "my-claim")
    assert hashed == "nUKwGRmmaDuoamds3jToAF7C8W1SApW5Tv7cB1hoWMT"


@pytest.mark.parametrize(
    ("pod", "container"),
    [
        ("a", "b-c"),
        ("a.b", "c"),
        ("a" * 61, "bc"),
        ("web", "x2345abc"),
    ],
    ids=["dash in the container", "dot in the Pod", "too long", "looks hashed"],
)
def test_a_name_that_could_be_anothers_or_is_illegal_gets_a_hash(pod, container):
    name = READABLE.instance("default", pod, container)
    assert name != f"{pod}-{container}"
    assert len(name) <= 63
    assert name.startswith(pod[:1])


def test_a_name_is_cut_before_a_dash():
    name = READABLE.volume("default", "a" * 53 + "-" + "b" * 20)
    assert name.rpartition("-")[0] == "a" * 53


@pytest.mark.parametrize("word", ["postgres", "frontend", "x8901234", "abcdefg"])
def test_ordinary_words_do_not_look_hashed(word):
    assert READABLE.instance("default", "my", word) == f"my-{word}"


def test_a_service_keeps_its_name_before_anothers_container():
    services = {"web", "web-app"}
    assert READABLE.service_group("default", "web-app", None, services=services) == "web-app"
    assert READABLE.service_group("default", "web", "app", services=services) != "web-app"


def test_group_names_leave_room_for_the_platforms_suffix():
    assert READABLE.service_group("default", "s" * 54, None, services=()) == "s" * 54
    assert len(READABLE.service_group("default", "s" * 55, None, services=())) == 54


def test_persistent_volumes_are_named_by_the_claims_uid():
    assert persistent_volume_name("1-2") == "pv-1-2"


def test_instance_tags():
    tags = instance_tags(NodeIdentity("c-1", "kraftlet"), "default", "web-0", "u-1", "app")
    assert tags == (
        "kraftlet:cluster=c-1",
        "kraftlet:node=kraftlet",
        "k8s.io:namespace=default",
        "k8s.io:pod=web-0",
        "k8s.io:container=app",
        "k8s.io:uid=u-1",
    )


def test_volume_tags():
    assert volume_tags(NodeIdentity("c-1", "kraftlet"), "default", "data", "u-2") == (
        "kraftlet:cluster=c-1",
        "kraftlet:node=kraftlet",
        "k8s.io:namespace=default",
        "k8s.io:pvc=data",
        "k8s.io:uid=u-2",
    )


def test_tags_of_strangers_tell_nothing():
    assert pod_uid_of(("team=a", "uid=7")) is None
    assert container_of(()) is None


def test_tag_characters_are_replaced_one_by_one_and_cut():
    assert sanitize_tag("a/b c,ü+-_.:=Z9") == "a_b_c__+-_.:=Z9"
    assert sanitize_tag("x" * 300) == "x" * 256
