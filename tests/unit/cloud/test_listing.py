"""Paging over a list that loses items while it is read."""

from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.cloud.listing import Listing


def page(items, query):
    """As the platform pages: inclusive cursor, nothing for one that is gone."""
    parameters = dict(part.split("=") for part in query.split("&"))
    start = 0
    if "from" in parameters:
        if parameters["from"] not in items:
            return []
        start = items.index(parameters["from"])
    return [(uuid, uuid) for uuid in items[start : start + int(parameters["count"])]]


@given(
    size=st.integers(0, 450),
    deletions=st.lists(st.tuples(st.integers(0, 449), st.integers(1, 150)), max_size=5),
)
def test_no_item_that_stays_is_missed_and_none_comes_twice(size, deletions):
    items = [f"u{number:03}" for number in range(size)]
    listing, pages = Listing(), 0
    while not listing.finished:
        assert not listing.stuck
        listing.adopt(page(items, listing.query))
        pages += 1
        if deletions:
            start, length = deletions.pop()
            del items[start : start + length]
    found = listing.items
    assert set(items) <= set(found)
    assert found == sorted(set(found))
    assert pages < 60


def test_server_that_ignores_the_cursor_ends_the_walk():
    listing = Listing()
    for _ in range(3):
        listing.adopt([(f"u{number}", number) for number in range(100)])
        if listing.finished:
            break
    assert listing.finished
    assert len(listing.items) == 100


def test_cursor_that_never_works_is_stuck():
    listing = Listing()
    for _ in range(100):
        if listing.stuck:
            break
        listing.adopt([(f"u{n}", n) for n in range(100)] if "from" not in listing.query else [])
    assert listing.stuck
