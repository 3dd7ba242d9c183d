"""No way of writing a path leads past the rights that it needs."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.kubelet_api.authorization import needed_rights
from kraftlet_trio.kubelet_api.server import KubeletAPI

NOBODY: Any = None


class Handlers:
    """Whose every attribute is a handler; what it is called says whether it acts."""

    def __getattr__(self, name: str) -> str:
        return name


API = KubeletAPI(
    NOBODY,
    NOBODY,
    NOBODY,
    NOBODY,
    metric_pages=Handlers(),  # type: ignore[arg-type]
    logs=Handlers(),  # type: ignore[arg-type]
    commands=Handlers(),  # type: ignore[arg-type]
    port_forward=Handlers(),  # type: ignore[arg-type]
    task_tree=NOBODY,
    settings=NOBODY,
)
ROUTES = API.routes
ACTING = ("/exec/", "/attach/", "/run/", "/portForward/")
WORDS = st.one_of(
    st.sampled_from(
        ["exec", "attach", "run", "portForward", "pods", "metrics", "stats", "healthz", "logs"]
    ),
    st.sampled_from(["", ".", "..", "%65xec", "EXEC", "exec ", "exec;", "exec%2f", "*", "{pod}"]),
    st.text(max_size=4),
)
PATHS = st.one_of(
    st.lists(WORDS, max_size=7).map(lambda words: "/" + "/".join(words)),
    st.sampled_from([route.pattern for route in ROUTES]),
)


@given(PATHS, st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS", "get"]))
def test_what_acts_needs_the_right_to_create(path: str, method: str) -> None:
    rights = needed_rights(method, path)
    for route in ROUTES:
        if route.words(path) is not None and route.pattern.startswith(ACTING):
            assert (rights.verb, rights.subresources) == ("create", ("proxy",))


@given(PATHS)
def test_a_path_leads_to_one_route_at_most(path: str) -> None:
    assert sum(route.words(path) is not None for route in ROUTES) <= 1
