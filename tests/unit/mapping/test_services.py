from collections.abc import Collection
from datetime import UTC, datetime

import attrs
import pytest

from kraftlet_trio.cloud.objects import DomainRequest, ServiceGroupRequest
from kraftlet_trio.cloud.objects import Service as PublishedPort
from kraftlet_trio.kubernetes.objects import ObjectMeta, Service, ServicePort, ServiceSpec
from kraftlet_trio.kubernetes.pod import Container, ContainerPort, Pod, PodSpec
from kraftlet_trio.mapping.names import Naming
from kraftlet_trio.mapping.service_annotations import ConnectionLimits
from kraftlet_trio.mapping.services import (
    ContainerGroup,
    container_groups,
    default_group,
    selecting,
    service_problems,
)


def a_container(name: str = "app", *ports: int, **named: int) -> Container:
    return Container(
        name=name,
        ports=(
            *(ContainerPort(container_port=port) for port in ports),
            *(ContainerPort(name=name, container_port=port) for name, port in named.items()),
        ),
    )


def a_pod(*containers: Container, init: tuple[Container, ...] = ()) -> Pod:
    return Pod(
        metadata=ObjectMeta(name="web-0", namespace="default", labels={"app": "web", "v": "1"}),
        spec=PodSpec(containers=containers, init_containers=init),
    )


def a_service(
    *ports: ServicePort, name: str = "my-svc", day: int = 1, type: str = "", **annotations: str
) -> Service:
    return Service(
        metadata=ObjectMeta(
            name=name,
            namespace="default",
            creation_timestamp=datetime(2025, 1, day, tzinfo=UTC),
            annotations={
                "cloud.unikraft.v1.services/" + key.replace("__", "."): text
                for key, text in annotations.items()
            },
        ),
        spec=ServiceSpec(selector={"app": "web"}, ports=ports, type=type),
    )


def groups(
    pod: Pod, *services: Service, ignored: Collection[str] = ()
) -> dict[str, ContainerGroup | None]:
    names = {service.metadata.name for service in services}
    return dict(container_groups(pod, services, Naming(), names, ignored=ignored))


def published(group: ContainerGroup | None) -> dict[int, int | None]:
    assert group is not None
    return {port.port: port.destination_port for port in group.services}


def test_a_service_in_front_of_one_container_is_one_group():
    pod = a_pod(a_container("app", 8080))
    assert groups(pod, a_service(ServicePort(port=443, target_port=8080))) == {
        "app": ContainerGroup(
            name="my-svc",
            services=(PublishedPort(port=443, destination_port=8080, handlers=("tls", "http")),),
            domains=(),
        )
    }


def test_each_of_several_containers_has_a_group_of_its_own_ports():
    pod = a_pod(a_container("app", 8080), a_container("sidecar", metrics=9090))
    service = a_service(
        ServicePort(port=443, target_port=8080), ServicePort(port=9090, target_port="metrics")
    )
    found = groups(pod, service)
    assert {name: group.name for name, group in found.items() if group} == {
        "app": "my-svc-app",
        "sidecar": "my-svc-sidecar",
    }
    assert published(found["app"]) == {443: 8080}
    assert published(found["sidecar"]) == {9090: 9090}


@pytest.mark.parametrize(
    ("service_port", "target"),
    [
        (ServicePort(port=80, target_port=8080), 8080),
        (ServicePort(port=80, target_port="http"), 8080),
        (ServicePort(port=80, target_port="metrics"), None),
        (ServicePort(port=8080), 8080),
        (ServicePort(port=8080, target_port=0), 8080),
        (ServicePort(port=8080, target_port=""), 8080),
        (ServicePort(port=80, target_port=9999), 9999),
        (ServicePort(port=80), 80),
        (ServicePort(port=80, target_port=8080, protocol="UDP"), None),
    ],
)
def test_where_a_service_port_leads_in_a_pod_of_one_container(service_port, target):
    group = groups(a_pod(a_container("app", http=8080)), a_service(service_port))["app"]
    assert (group and published(group)) == (target and {service_port.port: target})


def test_an_undeclared_port_of_several_containers_leads_nowhere():
    pod = a_pod(a_container("app", 8080), a_container("side"))
    service = a_service(ServicePort(port=443, target_port=9999))
    assert groups(pod, service) == {"app": None, "side": None}


def test_a_named_port_has_to_be_tcp():
    container = Container(
        name="app",
        ports=(
            ContainerPort(name="dns", container_port=53, protocol="UDP"),
            ContainerPort(name="web", container_port=80),
        ),
    )
    service = a_service(ServicePort(port=53, target_port="dns"))
    assert groups(a_pod(container), service) == {"app": None}


def test_several_services_become_one_group_named_after_the_oldest():
    pod = a_pod(a_container("app", 8080, 9090))
    young = a_service(ServicePort(port=443, target_port=8080), name="a", day=2, domain="young")
    old = a_service(ServicePort(port=9090), name="b", day=1, domain="old.example.com")
    group = groups(pod, young, old)["app"]
    assert group is not None
    assert group.name == "b"
    assert published(group) == {443: 8080, 9090: 9090}
    assert group.domains == (DomainRequest(name="old.example.com."), DomainRequest(name="young"))
    assert group.problems == ()


def test_of_two_targets_of_one_public_port_the_oldest_services_holds():
    pod = a_pod(a_container("app", 8080, 9090))
    old = a_service(ServicePort(port=443, target_port=8080), name="old", day=1)
    young = a_service(ServicePort(port=443, target_port=9090), name="young", day=2)
    group = groups(pod, young, old)["app"]
    assert published(group) == {443: 8080}
    [problem] = group.problems
    assert problem.reason == "ConflictingServicePort"
    assert "port 443 of Service young" in problem.message
    assert "Service old leads it to 8080" in problem.message


def test_a_service_without_a_port_for_the_container_does_not_name_its_group():
    pod = a_pod(a_container("app", web=8080))
    old = a_service(ServicePort(port=1, target_port="nothing"), name="old", day=1, domain="old")
    young = a_service(ServicePort(port=443, target_port="web"), name="young", day=2)
    group = groups(pod, old, young)["app"]
    assert group is not None
    assert (group.name, group.domains) == ("young", ())


def test_a_containers_group_leaves_a_name_to_the_service_that_has_it():
    pod = a_pod(a_container("app", 8080), a_container("side"))
    web = a_service(ServicePort(port=443, target_port=8080), name="web")
    [bare] = [group.name for group in groups(pod, web).values() if group]
    names = {"web", "web-app"}
    [hashed] = [g.name for g in container_groups(pod, [web], Naming(), names).values() if g]
    assert bare == "web-app"
    assert hashed.startswith("web-app-")


def test_an_ignored_container_does_not_count():
    pod = a_pod(a_container("app", 8080), a_container("sidecar", 9090))
    service = a_service(ServicePort(port=443, target_port=7070), ServicePort(port=9090), domain="a")
    [(name, group)] = groups(pod, service, ignored={"sidecar"}).items()
    assert name == "app"
    assert group is not None
    assert group.name == "my-svc"
    assert published(group) == {443: 7070, 9090: 9090}
    assert group.domains == (DomainRequest(name="a"),)
    assert groups(pod, service, ignored={"app", "sidecar"}) == {}


def test_a_sidecar_is_published_where_it_declares_a_services_port():
    proxy = attrs.evolve(a_container("proxy", 8443), restart_policy="Always")
    pod = a_pod(a_container("app"), init=(proxy, a_container("setup", 8443)))
    service = a_service(
        ServicePort(port=443, target_port=8443), ServicePort(port=80, target_port=8080)
    )
    found = groups(pod, service)
    assert {name: group.name for name, group in found.items() if group} == {
        "proxy": "my-svc-proxy",
        "app": "my-svc",
    }
    assert published(found["proxy"]) == {443: 8443}
    assert published(found["app"]) == {80: 8080}
    assert published(groups(pod, service, ignored={"proxy"})["app"]) == {443: 8443, 80: 8080}


@pytest.mark.parametrize(
    "ports", [(ServicePort(port=443),), (ServicePort(port=443), ServicePort(port=80))]
)
def test_a_redirect_leads_from_port_80_to_port_443(ports):
    group = groups(a_pod(a_container("app")), a_service(*ports, redirect="true"))["app"]
    assert group is not None
    assert group.services == (
        PublishedPort(port=80, destination_port=443, handlers=("http", "redirect")),
        PublishedPort(port=443, destination_port=443, handlers=("tls", "http")),
    )
    assert group.problems == ()


def test_a_redirect_to_a_port_that_is_not_published_has_no_effect():
    pod = a_pod(a_container("app", 8080))
    group = groups(pod, a_service(ServicePort(port=80), handlers__80="http, redirect"))["app"]
    assert group is not None
    assert group.services == (PublishedPort(port=80, destination_port=80, handlers=("http",)),)
    [problem] = group.problems
    assert problem.reason == "InvalidAnnotation"
    assert "add that port to the Service" in problem.message


def test_a_redirect_is_only_for_the_container_behind_port_443():
    pod = a_pod(a_container("app", 8080), a_container("side", 9090))
    service = a_service(
        ServicePort(port=443, target_port=8080), ServicePort(port=9090), redirect="true"
    )
    found = groups(pod, service)
    assert published(found["app"]) == {80: 443, 443: 8080}
    assert published(found["side"]) == {9090: 9090}
    assert all(group is not None and group.problems == () for group in found.values())


def test_limits_of_the_oldest_service_that_has_some_hold():
    pod = a_pod(a_container("app"))
    services = [
        a_service(ServicePort(port=443), name="a", day=1),
        a_service(ServicePort(port=443), name="b", day=2, soft_limit="5"),
        a_service(ServicePort(port=443), name="c", day=3, hard_limit="9"),
    ]
    group = groups(pod, *services)["app"]
    assert group is not None
    assert group.limits == ConnectionLimits(5, 65535)
    [problem] = group.problems
    assert problem.reason == "ConflictingServiceLimits"
    assert "limits of Service c have no effect" in problem.message
    assert "those of Service b hold" in problem.message


def test_only_selectors_that_match_select():
    def service(name, selector, namespace="default", type=""):
        return Service(
            metadata=ObjectMeta(name=name, namespace=namespace),
            spec=ServiceSpec(selector=selector, type=type),
        )

    services = [
        service("yes", {"app": "web"}),
        service("also", {"app": "web", "v": "1"}),
        service("other-label", {"app": "db"}),
        service("one-too-many", {"app": "web", "tier": "x"}),
        service("none", {}),
        service("elsewhere", {"app": "web"}, namespace="team-a"),
        service("external", {"app": "web"}, type="ExternalName"),
    ]
    selected = selecting(a_pod(a_container()), services)
    assert [service.metadata.name for service in selected] == ["also", "yes"]


def test_a_udp_port_is_reported_and_skipped():
    service = a_service(
        ServicePort(port=443, target_port=8080), ServicePort(port=53, protocol="UDP")
    )
    group = groups(a_pod(a_container("app", 8080)), service)["app"]
    assert published(group) == {443: 8080}
    assert group.problems == service_problems(service)
    [problem] = group.problems
    assert problem.reason == "UnsupportedServicePort"
    assert "port 53/UDP of Service my-svc" in problem.message


def domains(pod: Pod, service: Service) -> dict[str, list[str]]:
    found = groups(pod, service)
    return {
        name: [domain.name for domain in group.domains] for name, group in found.items() if group
    }


ONE = a_pod(a_container("app", 8080))
TWO = a_pod(a_container("app", 8080), a_container("sidecar", 9090))
PORTS = (ServicePort(port=443, target_port=8080), ServicePort(port=9090))


@pytest.mark.parametrize(
    ("pod", "annotations", "expected"),
    [
        (ONE, {}, {"app": []}),
        (ONE, {"domain": "foo"}, {"app": ["foo"]}),
        (ONE, {"domain": "app.example.com"}, {"app": ["app.example.com."]}),
        (ONE, {"domain": "app.example.com."}, {"app": ["app.example.com."]}),
        (ONE, {"domain": "foo", "domain__app": "bar"}, {"app": ["bar"]}),
        (ONE, {"domain": "foo,b.example,FOO"}, {"app": ["foo", "b.example."]}),
        (ONE, {"domain": "b.example,b.example."}, {"app": ["b.example."]}),
        (TWO, {"domain": "foo"}, {"app": ["app-foo"], "sidecar": ["sidecar-foo"]}),
        (
            TWO,
            {"domain": "foo", "domain__app": "bar"},
            {"app": ["bar"], "sidecar": ["sidecar-foo"]},
        ),
        (TWO, {"domain__app": "bar"}, {"app": ["bar"], "sidecar": []}),
        (
            TWO,
            {"domain": "foo,baz", "domain__app": "bar,a.example"},
            {"app": ["bar", "a.example."], "sidecar": ["sidecar-foo", "sidecar-baz"]},
        ),
        (
            TWO,
            {"domain": "a.example"},
            {"app": ["app-a.example."], "sidecar": ["sidecar-a.example."]},
        ),
    ],
)
def test_domains(pod, annotations, expected):
    assert domains(pod, a_service(*PORTS, **annotations)) == expected


def test_a_domain_that_the_containers_name_makes_too_long_is_a_problem():
    service = a_service(*PORTS, domain="x" * 60, domain__app="ok")
    found = groups(TWO, service)
    assert domains(TWO, service) == {"app": ["ok"], "sidecar": []}
    [problem] = found["sidecar"].problems
    assert problem.reason == "InvalidDomain"
    assert "domain.sidecar" in problem.message


def test_an_invalid_domain_is_a_problem_of_its_service():
    [problem] = service_problems(a_service(*PORTS, domain="a_b"))
    assert problem.reason == "InvalidAnnotation"
    assert problem.message.startswith(
        "Service my-svc: annotation cloud.unikraft.v1.services/domain"
    )


def test_the_only_port_of_a_pod_is_published_without_a_service():
    pod = a_pod(a_container("side"), a_container("app", 8080))
    assert default_group(pod, pod.spec.containers[0]) is None
    assert default_group(pod, pod.spec.containers[1]) == ServiceGroupRequest(
        services=(PublishedPort(port=443, destination_port=8080, handlers=("tls", "http")),)
    )


def test_the_ports_of_ignored_containers_are_not_published():
    pod = a_pod(a_container("app", 8080), a_container("side", 9090))
    assert default_group(pod, pod.spec.containers[0]) is None
    assert default_group(pod, pod.spec.containers[0], ignored={"side"}) is not None
    assert default_group(pod, pod.spec.containers[0], ignored={"app", "side"}) is None


@pytest.mark.parametrize(
    "containers",
    [
        [a_container("app")],
        [a_container("app", 80, 443)],
        [a_container("app", 80), a_container("side", 80)],
        [Container(name="app", ports=(ContainerPort(container_port=53, protocol="UDP"),))],
    ],
    ids=["no port", "two ports", "two containers", "UDP"],
)
def test_a_pod_without_exactly_one_port_is_not_published_by_default(containers):
    assert default_group(a_pod(*containers), containers[0]) is None
