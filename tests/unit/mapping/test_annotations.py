import pytest

from kraftlet_trio.cloud.objects import ScaleToZero
from kraftlet_trio.kubernetes.objects import ObjectMeta, Service
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.mapping.annotations import (
    PodOptions,
    ServiceDomains,
    is_domain,
    pod_options,
    service_domains,
)


def options_of(**annotations: str) -> PodOptions:
    keys = {f"cloud.unikraft.v1.instances/{key}": value for key, value in annotations.items()}
    return pod_options(Pod(metadata=ObjectMeta(annotations=keys)))


def domains_of(annotations: dict[str, str]) -> ServiceDomains:
    keys = {f"cloud.unikraft.v1.services/{key}": value for key, value in annotations.items()}
    return service_domains(Service(metadata=ObjectMeta(annotations=keys)))


def test_a_pod_without_annotations_starts_and_sleeps_after_a_second():
    assert options_of() == PodOptions(
        autostart=True,
        template=None,
        scale_to_zero=ScaleToZero(policy="on", stateful=False, cooldown_time_ms=1000),
    )


def test_all_annotations_of_a_pod():
    options = options_of(
        **{
            "autostart": "false",
            "template": "warm",
            "scale_to_zero.policy": "idle",
            "scale_to_zero.stateful": "true",
            "scale_to_zero.cooldown_time_ms": "500",
        }
    )
    assert options == PodOptions(
        autostart=False,
        template="warm",
        scale_to_zero=ScaleToZero(policy="idle", stateful=True, cooldown_time_ms=500),
    )


@pytest.mark.parametrize("text", ["false", "False", "F", "0", " f "])
def test_no_in_many_spellings(text):
    assert not options_of(autostart=text).autostart


@pytest.mark.parametrize(
    ("key", "value", "used"),
    [
        ("autostart", "yes", '"true" is used'),
        ("scale_to_zero.stateful", "on", '"false" is used'),
        ("scale_to_zero.policy", "true", '"on" is used'),
        ("scale_to_zero.cooldown_time_ms", "-1", '"1000" is used'),
        ("scale_to_zero.cooldown_time_ms", "1s", '"1000" is used'),
        ("scale_to_zero.cooldown_time_ms", "1_000", '"1000" is used'),
        ("scale_to_zero.cooldown_time_ms", "9999999999", '"1000" is used'),
        ("scale-to-zero.policy", "off", "no such annotation"),
        ("ignore", "sidecar", "no such annotation"),
    ],
)
def test_an_annotation_without_effect_is_reported_with_its_cure(key, value, used):
    options = options_of(**{key: value})
    [problem] = options.problems
    assert problem.key == f"cloud.unikraft.v1.instances/{key}"
    assert problem.value == value
    assert f'"{value}" has no effect; ' in problem.message
    assert used in problem.cure
    assert options == PodOptions(problems=(problem,))


def test_other_peoples_annotations_are_left_alone():
    pod = Pod(metadata=ObjectMeta(annotations={"example.com/autostart": "never"}))
    assert pod_options(pod) == PodOptions()


def test_domains_of_a_service():
    domains = domains_of({"domain": "Foo", "domain.app": "app.example.com."})
    assert domains == ServiceDomains(common="foo", of_container={"app": "app.example.com."})


@pytest.mark.parametrize("value", ["a_b", "a,b", "https://a", "-a", "x" * 64, "a..b", "*", "b.*"])
def test_an_invalid_domain_is_left_out_and_reported(value):
    domains = domains_of({"domain": value})
    [problem] = domains.problems
    assert "the domain is left out" in problem.message
    assert domains.common is None


def test_an_unknown_annotation_of_a_service_is_reported():
    [problem] = domains_of({"domains": "a", "domain": "b"}).problems
    assert problem.key == "cloud.unikraft.v1.services/domains"


@pytest.mark.parametrize("name", ["a", "a-b", "a.b", "a.b.", "*.a.b", "xn--bcher-kva.example"])
def test_domain_names(name):
    assert is_domain(name)


def test_a_domain_has_at_most_253_characters():
    assert is_domain(".".join(["a" * 62] * 4) + "." + "b")
    assert not is_domain(".".join(["a" * 62] * 4) + "." + "bcd")
