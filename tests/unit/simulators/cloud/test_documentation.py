"""docs/simulated-cloud.md tells of every route, behaviour and setting."""

import re
from pathlib import Path

import attrs

from kraftlet_trio.simulators.cloud.api import ANY_METHOD, ROUTES
from kraftlet_trio.simulators.cloud.settings import CloudSettings

PAGE = (Path(__file__).parents[4] / "docs" / "simulated-cloud.md").read_text()


def rows():
    """Cells of all tables' rows."""
    for line in PAGE.splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def documented_endpoints():
    for methods, paths, *_ in rows():
        for path in re.findall(r"`(/[^`]*)`", paths):
            yield from ((method, path) for method in methods.split())


def test_every_route_is_documented_and_no_other():
    served = {
        ("any" if method == ANY_METHOD else method, route.path)
        for route in ROUTES
        for method in route.endpoints
    }
    assert set(documented_endpoints()) == served


def test_every_setting_is_documented():
    settings = {field.name for field in attrs.fields(CloudSettings)}
    assert settings - set(re.findall(r"`([a-z_]+)`", PAGE)) == set()


def test_the_behaviours_are_numbered_through():
    numbers = [int(cells[0]) for cells in rows() if cells[0].isdigit()]
    assert numbers == list(range(1, 32))
