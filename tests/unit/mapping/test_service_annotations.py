import pytest

from kraftlet_trio.kubernetes.objects import ObjectMeta, Service
from kraftlet_trio.mapping.annotation_values import is_domain
from kraftlet_trio.mapping.service_annotations import (
    ConnectionLimits,
    ServiceOptions,
    service_options,
)

PREFIX = "cloud.unikraft.v1.services/"


def options_of(annotations: dict[str, str]) -> ServiceOptions:
    keys = {PREFIX + key: value for key, value in annotations.items()}
    return service_options(Service(metadata=ObjectMeta(annotations=keys)))


def test_domains_of_a_service():
    options = options_of({"domain": "Foo, foo,*.example.com", "domain.app": "app.example.com."})
    assert options == ServiceOptions(
        domains=("foo", "*.example.com"), domains_of={"app": ("app.example.com.",)}
    )


@pytest.mark.parametrize("value", ["a_b", "a b", "https://a", "-a", "x" * 64, "a..b", "*", "b.*"])
def test_an_invalid_domain_is_left_out_and_reported(value):
    options = options_of({"domain": f"good,{value}"})
    [problem] = options.problems
    assert problem.value == value
    assert "the domain is left out" in problem.message
    assert options.domains == ("good",)


@pytest.mark.parametrize(
    ("annotations", "redirects"),
    [
        ({}, False),
        ({"redirect": "true"}, True),
        ({"handlers.80": "http, redirect"}, True),
        ({"handlers.80": "Redirect,HTTP", "redirect": "true"}, True),
        ({"handlers.80": "http"}, False),
        ({"handlers.443": "http,tls", "handlers.9000": "tls"}, False),
    ],
)
def test_redirects(annotations, redirects):
    options = options_of(annotations)
    assert options.redirect == redirects
    assert options.problems == ()


@pytest.mark.parametrize(
    ("key", "value", "offered"),
    [
        ("handlers.80", "redirect", '"http" or "http, redirect"'),
        ("handlers.80", "tls", '"http" or "http, redirect"'),
        ("handlers.443", "tls", '"tls, http"'),
        ("handlers.443", "tls, http, redirect", '"tls, http"'),
        ("handlers.9000", "http", '"tls"'),
        ("handlers.http", "http", '"handlers.443"'),
        ("handlers.", "http", '"handlers.443"'),
        ("handlers", "http", "no such annotation"),
        ("redirect", "80", '"false" is used'),
        ("soft_limit", "0", '"1" is used'),
        ("soft_limit", "many", '"1" is used'),
        ("hard_limit", "65536", '"65535" is used'),
        ("domains", "a", "no such annotation"),
    ],
)
def test_an_annotation_without_effect_is_reported_with_its_cure(key, value, offered):
    options = options_of({key: value})
    [problem] = options.problems
    assert (problem.key, problem.value) == (PREFIX + key, value)
    assert offered in problem.cure
    assert options == ServiceOptions(problems=options.problems)


def test_handlers_hold_where_the_redirect_says_otherwise():
    options = options_of({"handlers.80": "http", "redirect": "true"})
    assert not options.redirect
    [problem] = options.problems
    assert problem.key == PREFIX + "redirect"
    assert "handlers.80 says otherwise" in problem.cure


def test_limits():
    assert options_of({}).limits == ConnectionLimits(soft=1, hard=65535)
    assert options_of({"soft_limit": "20"}).limits == ConnectionLimits(20, 65535)
    assert options_of({"soft_limit": "20", "hard_limit": "20"}).limits == ConnectionLimits(20, 20)


def test_a_soft_limit_above_the_hard_one_has_no_effect():
    options = options_of({"soft_limit": "30", "hard_limit": "20"})
    assert options.limits == ConnectionLimits(1, 20)
    [problem] = options.problems
    assert problem.key == PREFIX + "soft_limit"
    assert "the hard limit, which is 20" in problem.cure


@pytest.mark.parametrize("name", ["a", "a-b", "a.b", "a.b.", "*.a.b", "xn--bcher-kva.example"])
def test_domain_names(name):
    assert is_domain(name)


def test_a_domain_has_at_most_253_characters():
    assert is_domain(".".join(["a" * 62] * 4) + "." + "b")
    assert not is_domain(".".join(["a" * 62] * 4) + "." + "bcd")
