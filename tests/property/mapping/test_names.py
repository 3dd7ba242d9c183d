import re

from hypothesis import example, given
from hypothesis import strategies as st

from kraftlet_trio.mapping.names import (
    Naming,
    NodeIdentity,
    container_of,
    instance_tags,
    pod_uid_of,
    pod_uid_tag,
    sanitize_tag,
    volume_tags,
)
from tests.strategies import (
    adversarial_labels,
    adversarial_subdomains,
    dns_labels,
    dns_subdomains,
    hostile_text,
    namespaces,
)

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
TAG = re.compile(r"[-A-Za-z0-9+_.:=]{1,256}")

labels = st.one_of(adversarial_labels(), dns_labels(12))
subdomains = st.one_of(adversarial_subdomains(), dns_subdomains())
containers = st.tuples(namespaces(), subdomains, labels)
claims = st.tuples(namespaces(), subdomains)
published = st.tuples(namespaces(), labels, st.one_of(st.none(), labels))


def assert_injective(names):
    assert len(set(names.values())) == len(names)


@given(st.sets(containers, max_size=8))
def test_no_two_containers_share_an_instance_name(owners):
    assert_injective({owner: Naming().instance(*owner) for owner in owners})
    assert_injective({owner: Naming(hashed=True).instance(*owner) for owner in owners})


@given(st.sets(published, max_size=8))
def test_no_two_services_or_containers_share_a_group_name(owners):
    for naming in (Naming(), Naming(hashed=True)):
        names = {}
        for namespace, service, container in owners:
            services = {name for other, name, _ in owners if other == namespace}
            names[namespace, service, container] = naming.service_group(
                namespace, service, container, services=services
            )
        assert_injective(names)


@given(st.sets(claims, max_size=8))
def test_no_two_claims_share_a_volume_name(owners):
    assert_injective({owner: Naming().volume(*owner) for owner in owners})
    assert_injective({owner: Naming(hashed=True).volume(*owner) for owner in owners})


@given(containers)
def test_no_pod_can_be_named_to_take_anothers_instance_name(victim):
    name = Naming().instance(*victim)
    for dash in re.finditer("-", name):
        forged = ("default", name[: dash.start()], name[dash.end() :])
        assert forged == victim or Naming().instance(*forged) != name


@given(published)
@example(("default", "b-b-x2345abc", None))  # whose digest has no digit
def test_no_service_can_be_named_to_take_anothers_group_name(victim):
    namespace, service, container = victim
    name = Naming().service_group(namespace, service, container, services={service})
    forged = ("default", name, None)
    # A Service of the very name that a container's group has moves that group, when it appears.
    services = {service, name}
    victims = Naming().service_group(namespace, service, container, services=services)
    assert forged == victim or Naming().service_group(*forged, services=services) != victims


@given(claims)
def test_no_claim_can_be_named_to_take_anothers_volume_name(victim):
    name = Naming().volume(*victim)
    assert victim == ("default", name) or Naming().volume("default", name) != name


@given(hostile_text(), hostile_text(), hostile_text())
def test_every_readable_name_is_a_dns_label(namespace, name, container):
    for space in (namespace, "default"):
        names = [
            Naming().instance(space, name, container),
            Naming().volume(space, name),
            Naming().service_group(space, name, container, services=()),
            Naming().service_group(space, name, None, services=()),
        ]
        assert all(map(LABEL.fullmatch, names))
        # The platform appends nine characters to a group's name to make a host name of it.
        assert all(len(group) <= 54 for group in names[2:])


@given(hostile_text(), hostile_text(), hostile_text())
def test_every_hashed_name_has_43_characters_of_base62(namespace, name, container):
    hashed = Naming(hashed=True)
    assert re.fullmatch("[0-9A-Za-z]{43}", hashed.instance(namespace, name, container))
    assert re.fullmatch("[0-9A-Za-z]{43}", hashed.volume(namespace, name))


@given(hostile_text())
def test_sanitized_tags_are_legal_and_stay_as_they_are(text):
    tag = sanitize_tag(text)
    assert tag == "" or TAG.fullmatch(tag)
    assert sanitize_tag(tag) == tag


@given(hostile_text(), hostile_text(), hostile_text(), hostile_text(), hostile_text())
def test_tags_of_resources_are_legal(node, namespace, name, uid, container):
    tags = (
        *instance_tags(NodeIdentity("c", node), namespace, name, uid, container),
        *volume_tags(NodeIdentity("c", node), namespace, name, uid),
    )
    assert all(map(TAG.fullmatch, tags))
    assert len(instance_tags(NodeIdentity("c", node), namespace, name, uid, container)) <= 16


@given(dns_subdomains(), namespaces(), dns_subdomains(), st.uuids().map(str), dns_labels())
def test_an_instance_is_found_by_its_tags(node, namespace, pod, uid, container):
    tags = instance_tags(NodeIdentity("c", node), namespace, pod, uid, container)
    assert (pod_uid_of(tags), container_of(tags)) == (uid, container)
    assert {*NodeIdentity("c", node).tags, pod_uid_tag(uid)} < set(tags)
