"""Hypothesis strategies for Kubernetes objects: valid ones, adversarial ones, and hostile ones.

Valid ones are what an API server lets through. Adversarial names are valid, and made to collide.
Hostile objects have any text anywhere: what may come once a server or a client is broken.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import attrs
from hypothesis import strategies as st

from kraftlet_trio.kubernetes.objects import (
    ConfigMap,
    ObjectMeta,
    Secret,
    Service,
    ServicePort,
    ServiceSpec,
)
from kraftlet_trio.kubernetes.pod import (
    Container,
    ContainerPort,
    EnvFromReference,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    KeySelector,
    Pod,
    PodSpec,
    ResourceRequirements,
    VolumeMount,
)
from kraftlet_trio.kubernetes.pod_volumes import (
    ObjectFieldSelector,
    PersistentVolumeClaimVolumeSource,
    ResourceFieldSelector,
    Volume,
)

POD_PREFIX = "cloud.unikraft.v1.instances/"
SERVICE_PREFIX = "cloud.unikraft.v1.services/"


def dns_labels(max_size: int = 63) -> st.SearchStrategy[str]:
    return st.from_regex(rf"[a-z0-9]([-a-z0-9]{{0,{max_size - 2}}}[a-z0-9])?", fullmatch=True)


def dns_subdomains() -> st.SearchStrategy[str]:
    """Names of Pods, claims, ConfigMaps: labels joined by dots, at most 253 characters."""
    return st.lists(dns_labels(), min_size=1, max_size=3).map(".".join)


def adversarial_labels() -> st.SearchStrategy[str]:
    """Labels of few different parts, so that joins of them meet; some look like hashed names."""
    parts = st.sampled_from(["a", "b", "web", "x2345abc", "7abcdefg", "q" * 31])
    return (
        st.lists(parts, min_size=1, max_size=3).map("-".join).filter(lambda name: len(name) <= 63)
    )


def adversarial_subdomains() -> st.SearchStrategy[str]:
    dotted = st.lists(adversarial_labels(), min_size=2, max_size=3).map(".".join)
    return st.one_of(adversarial_labels(), dotted)


def namespaces() -> st.SearchStrategy[str]:
    return st.sampled_from(["default", "team-a", "a", "a-b"])


def quantities() -> st.SearchStrategy[str]:
    """What Kubernetes accepts for a resource: not negative, with any suffix or exponent."""
    number = st.one_of(
        st.integers(0, 10**6).map(str),
        st.decimals(0, 10**4, allow_nan=False, allow_infinity=False, places=3).map(str),
        st.sampled_from([".5", "1.", "+2", "0", "00.10"]),
    )
    suffix = st.sampled_from(
        ["", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "E3", "e-3", "E+2"]
    )
    return st.builds("{}{}".format, number, suffix)


def resource_requirements() -> st.SearchStrategy[ResourceRequirements]:
    side = st.dictionaries(st.sampled_from(["cpu", "memory"]), quantities())
    return st.builds(ResourceRequirements, limits=side, requests=side)


def port_numbers() -> st.SearchStrategy[int]:
    return st.one_of(st.sampled_from([80, 443, 8080, 9090]), st.integers(1, 65535))


def container_ports() -> st.SearchStrategy[ContainerPort]:
    return st.builds(
        ContainerPort,
        container_port=port_numbers(),
        name=st.sampled_from(["", "http", "metrics"]),
        protocol=st.sampled_from(["TCP", "TCP", "UDP", "SCTP"]),
    )


def env_names() -> st.SearchStrategy[str]:
    return st.sampled_from(["A", "B", "C", "PATH", "with.dot", "_x"])


def templates() -> st.SearchStrategy[str]:
    """Texts rich in what looks like a reference to a variable."""
    parts = ["$", "$$", "$(", ")", "$(A)", "$$(A)", "$(B)", "$(nobody)", "x", "ü", " ", "$(A"]
    return st.lists(st.sampled_from(parts), max_size=8).map("".join)


def env_vars() -> st.SearchStrategy[EnvVar]:
    key = st.builds(
        KeySelector,
        name=st.sampled_from(["one", "two"]),
        key=st.sampled_from(["a", "b"]),
        optional=st.booleans(),
    )
    path = st.sampled_from(
        [
            "metadata.name",
            "metadata.uid",
            "metadata.labels['app']",
            "spec.nodeName",
            "status.hostIP",
            "status.podIP",
        ]
    )
    resource = st.builds(
        ResourceFieldSelector,
        resource=st.sampled_from(["limits.cpu", "requests.memory", "limits.memory"]),
        divisor=st.sampled_from(["", "0", "1", "1m", "1Mi"]),
    )
    source = st.one_of(
        st.builds(EnvVarSource, field_ref=st.builds(ObjectFieldSelector, field_path=path)),
        st.builds(EnvVarSource, resource_field_ref=resource),
        st.builds(EnvVarSource, config_map_key_ref=key),
        st.builds(EnvVarSource, secret_key_ref=key),
    )
    return st.one_of(
        st.builds(EnvVar, name=env_names(), value=templates()),
        st.builds(EnvVar, name=env_names(), value_from=source),
    )


def env_from_sources() -> st.SearchStrategy[EnvFromSource]:
    reference = st.builds(
        EnvFromReference, name=st.sampled_from(["one", "two"]), optional=st.booleans()
    )
    prefix = st.sampled_from(["", "P_", "9"])
    return st.one_of(
        st.builds(EnvFromSource, prefix=prefix, config_map_ref=reference),
        st.builds(EnvFromSource, prefix=prefix, secret_ref=reference),
    )


def config_maps() -> st.SearchStrategy[dict[str, ConfigMap | None]]:
    data = st.dictionaries(st.sampled_from(["a", "b", "A", "not a name"]), templates())
    found = st.builds(ConfigMap, data=data)
    return st.dictionaries(st.sampled_from(["one", "two"]), st.one_of(st.none(), found))


def secrets() -> st.SearchStrategy[dict[str, Secret | None]]:
    value = st.one_of(templates().map(str.encode), st.binary(max_size=4))
    encoded = value.map(lambda raw: base64.b64encode(raw).decode())
    data = st.dictionaries(st.sampled_from(["a", "b", "B", "9lives"]), encoded)
    found = st.builds(Secret, data=data)
    return st.dictionaries(st.sampled_from(["one", "two"]), st.one_of(st.none(), found))


def images() -> st.SearchStrategy[str]:
    digest = "@sha256:" + "0" * 64
    return st.builds(
        "{}{}{}".format,
        st.sampled_from(["nginx", "registry:5000/team/web", "unikraft.org/nginx"]),
        st.sampled_from(["", ":latest", ":1.27"]),
        st.sampled_from(["", "", digest]),
    )


@st.composite
def containers(draw: st.DrawFn, name: str = "app") -> Container:
    """Containers of any kind; some mount a volume ``data``."""
    return Container(
        name=name,
        image=draw(images()),
        image_pull_policy=draw(st.sampled_from(["", "Always", "IfNotPresent", "Never"])),
        command=tuple(draw(st.lists(templates(), max_size=2))),
        args=tuple(draw(st.lists(templates(), max_size=2))),
        env=tuple(draw(st.lists(env_vars(), max_size=4))),
        env_from=tuple(draw(st.lists(env_from_sources(), max_size=2))),
        ports=tuple(draw(st.lists(container_ports(), max_size=3))),
        resources=draw(resource_requirements()),
        volume_mounts=draw(st.sampled_from([(), (VolumeMount(name="data", mount_path="/data"),)])),
    )


def pod_annotations() -> st.SearchStrategy[dict[str, str]]:
    """Annotations that the mapping reads, with good and bad values, and strangers."""
    of_containers = [
        "template",
        "plugins",
        "scale_to_zero.policy",
        "scale_to_zero.stateful",
        "scale_to_zero.cooldown_time_ms",
        "scale_to_zero.notify_time_ms",
    ]
    keys = [
        *("autostart", "ignore", "enable-exec", "refresh", "strict"),
        *of_containers,
        *(f"{key}.{container}" for key in of_containers for container in ("app", "side")),
    ]
    values = st.one_of(
        st.sampled_from(["true", "False", "1", "on", "off", "idle", "500", "1500", "-1", "", " "]),
        st.sampled_from(["restart", "app", "app,side", "nobody", "tools/list.json", "a/b/c"]),
        st.text(max_size=8),
    )
    ours = st.sampled_from(keys).map(POD_PREFIX.__add__)
    return st.dictionaries(st.one_of(ours, st.just("example.com/note")), values, max_size=5)


def service_annotations() -> st.SearchStrategy[dict[str, str]]:
    """Annotations that the mapping reads, with good and bad values, and a stranger."""
    names = ["foo", "app.example.com", "*.example.com", "Foo", "a_b", "", "x" * 63]
    domains = st.lists(st.sampled_from(names), max_size=3).map(",".join)
    handlers = st.lists(st.sampled_from(["http", "tls", "redirect", "udp"]), max_size=3)
    values = {
        **dict.fromkeys(["domain", "domain.app", "domain.side"], domains),
        **dict.fromkeys(["handlers.80", "handlers.443", "handlers.x"], handlers.map(", ".join)),
        "redirect": st.sampled_from(["true", "false", "maybe"]),
        "soft_limit": st.sampled_from(["1", "7", "0", "x", "70000"]),
        "hard_limit": st.sampled_from(["5", "65535", "-1"]),
        "unknown": st.just("value"),
    }
    keys = st.lists(st.sampled_from(sorted(values)), unique=True, max_size=5)
    return keys.flatmap(
        lambda chosen: st.fixed_dictionaries({SERVICE_PREFIX + key: values[key] for key in chosen})
    )


def container_names(max_size: int = 2) -> st.SearchStrategy[list[str]]:
    """Names of one container or more, some of which annotations of ``services`` speak of."""
    names = st.sampled_from(["app", "side", "a-b", "x2345abc", "c" * 63])
    return st.lists(names, min_size=1, max_size=max_size, unique=True)


@st.composite
def publishable_pods(draw: st.DrawFn) -> Pod:
    """Pods with nothing but what Services look at."""
    return Pod(
        metadata=ObjectMeta(name="web-0", namespace=draw(namespaces()), labels=draw(labels())),
        spec=PodSpec(
            containers=tuple(
                Container(name=name, ports=tuple(draw(st.lists(container_ports(), max_size=3))))
                for name in draw(container_names())
            )
        ),
    )


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    """Pods of one or two containers, with perhaps an init container and a claim."""
    return Pod(
        metadata=ObjectMeta(
            name=draw(st.one_of(st.just("web-0"), dns_subdomains())),
            namespace=draw(namespaces()),
            uid=str(draw(st.uuids())),
            labels=draw(labels()),
            annotations=draw(pod_annotations()),
        ),
        spec=PodSpec(
            containers=tuple(draw(containers(name)) for name in draw(container_names())),
            init_containers=tuple(draw(st.lists(containers("init"), max_size=1))),
            volumes=(
                Volume(
                    name="data",
                    source="persistentVolumeClaim",
                    persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name="claim"),
                ),
            ),
            hostname=draw(st.sampled_from(["", "host"])),
            service_account_name="default",
        ),
    )


def labels() -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["web", "db"]))


def service_ports() -> st.SearchStrategy[ServicePort]:
    return st.builds(
        ServicePort,
        port=port_numbers(),
        protocol=st.sampled_from(["TCP", "TCP", "TCP", "UDP"]),
        target_port=st.one_of(st.none(), port_numbers(), st.sampled_from(["http", "metrics"])),
    )


@st.composite
def services(draw: st.DrawFn) -> Service:
    return Service(
        metadata=ObjectMeta(
            name=draw(st.one_of(st.sampled_from(["web", "web-app", "api"]), dns_labels())),
            namespace=draw(namespaces()),
            annotations=draw(service_annotations()),
            creation_timestamp=draw(
                st.one_of(st.none(), st.datetimes(datetime(2020, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
            ),
        ),
        spec=ServiceSpec(
            selector=draw(labels()),
            ports=tuple(draw(st.lists(service_ports(), max_size=4))),
            type=draw(st.sampled_from(["ClusterIP", "ClusterIP", "LoadBalancer", "ExternalName"])),
        ),
    )


def hostile_text() -> st.SearchStrategy[str]:
    nasty = [
        "",
        "..",
        "/",
        "\0",
        "a" * 300,
        "$(" * 50,
        "1e999999999",
        "../x",
        "a:b",
        "\uff19",
        "-1",
    ]
    return st.one_of(st.sampled_from(nasty), st.text(max_size=12))


@st.composite
def hostile_containers(draw: st.DrawFn) -> Container:
    text = hostile_text()
    quantity = st.dictionaries(st.sampled_from(["cpu", "memory"]), st.one_of(text, quantities()))
    mount = st.builds(
        VolumeMount,
        name=st.one_of(st.just("data"), st.just("kube-api-access-1"), text),
        mount_path=st.one_of(text, st.just("/data")),
        sub_path=st.one_of(st.just(""), text),
    )
    variable = st.one_of(
        st.builds(EnvVar, name=text, value=text),
        env_vars(),
        st.builds(EnvVar, name=text, value_from=st.just(EnvVarSource())),
        st.builds(
            EnvVar,
            name=text,
            value_from=st.builds(
                EnvVarSource, field_ref=st.builds(ObjectFieldSelector, field_path=text)
            ),
        ),
        st.builds(
            EnvVar,
            name=text,
            value_from=st.builds(
                EnvVarSource,
                resource_field_ref=st.builds(
                    ResourceFieldSelector,
                    container_name=text,
                    resource=st.one_of(text, st.sampled_from(["limits.cpu", "requests.memory"])),
                    divisor=text,
                ),
            ),
        ),
    )
    return attrs.evolve(
        draw(containers()),
        name=draw(text),
        image=draw(st.one_of(images(), text)),
        image_pull_policy=draw(text),
        command=tuple(draw(st.lists(text, max_size=2))),
        env=tuple(draw(st.lists(variable, max_size=3))),
        resources=draw(st.builds(ResourceRequirements, limits=quantity, requests=quantity)),
        volume_mounts=tuple(draw(st.lists(mount, max_size=2))),
        ports=tuple(
            draw(
                st.lists(
                    st.builds(
                        ContainerPort, container_port=st.integers(), name=text, protocol=text
                    ),
                    max_size=2,
                )
            )
        ),
    )


def hostile_metadata() -> st.SearchStrategy[ObjectMeta]:
    text = hostile_text()
    keys = st.one_of(text, text.map(POD_PREFIX.__add__), text.map(SERVICE_PREFIX.__add__))
    return st.builds(
        ObjectMeta,
        name=text,
        namespace=st.one_of(namespaces(), text),
        uid=text,
        labels=st.dictionaries(text, text, max_size=2),
        annotations=st.one_of(pod_annotations(), st.dictionaries(keys, text, max_size=3)),
    )


@st.composite
def hostile_pods(draw: st.DrawFn) -> Pod:
    text = hostile_text()
    sources = ["", "configMap", "projected", "persistentVolumeClaim"]
    return Pod(
        metadata=draw(hostile_metadata()),
        spec=PodSpec(
            containers=tuple(draw(st.lists(hostile_containers(), max_size=2))),
            init_containers=tuple(draw(st.lists(hostile_containers(), max_size=1))),
            volumes=tuple(
                draw(
                    st.lists(
                        st.builds(
                            Volume,
                            name=st.one_of(st.just("data"), st.just("kube-api-access-1"), text),
                            source=st.sampled_from(sources),
                            persistent_volume_claim=st.one_of(
                                st.none(),
                                st.builds(PersistentVolumeClaimVolumeSource, claim_name=text),
                            ),
                        ),
                        max_size=2,
                    )
                )
            ),
            hostname=draw(text),
        ),
    )


@st.composite
def hostile_services(draw: st.DrawFn) -> Service:
    text = hostile_text()
    keys = st.one_of(text, text.map(SERVICE_PREFIX.__add__))
    port = st.builds(
        ServicePort,
        port=st.integers(),
        protocol=st.one_of(st.just("TCP"), text),
        target_port=st.one_of(st.none(), st.integers(), text),
    )
    service = draw(services())
    return attrs.evolve(
        service,
        metadata=attrs.evolve(
            service.metadata,
            name=draw(text),
            annotations=draw(st.dictionaries(keys, text, max_size=3)),
        ),
        spec=attrs.evolve(
            service.spec,
            selector=draw(st.one_of(labels(), st.dictionaries(text, text, max_size=2))),
            ports=tuple(draw(st.lists(port, max_size=3))),
        ),
    )
