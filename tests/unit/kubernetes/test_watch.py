import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.kubernetes.errors import Expired, KubernetesUnavailable
from kraftlet_trio.kubernetes.resources import PODS
from kraftlet_trio.kubernetes.watch import LineSplitter, WatchEvent, read_watch_line
from tests.unit.kubernetes.scripted import bookmark, event, pod, status_document

documents = st.binary(min_size=1).map(lambda data: orjson.dumps({"value": data.hex()}))


@given(st.lists(documents, max_size=5), st.data())
def test_lines_survive_any_cutting(lines, data):
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    splitter, found = LineSplitter(), []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += splitter.feed(stream[begin:end])
    assert found == lines


@given(st.lists(documents, min_size=1, max_size=3))
def test_lines_survive_a_cut_at_every_byte(lines):
    stream = b"".join(line + b"\n" for line in lines)
    for cut in range(len(stream) + 1):
        splitter = LineSplitter()
        assert splitter.feed(stream[:cut]) + splitter.feed(stream[cut:]) == lines
    splitter = LineSplitter()
    assert [line for byte in stream for line in splitter.feed(bytes([byte]))] == lines


def test_unfinished_line_is_held_back():
    splitter = LineSplitter()
    assert splitter.feed(b'{"a":1}') == []
    assert splitter.feed(b"\n") == [b'{"a":1}']


def test_blank_lines_are_no_events():
    assert LineSplitter().feed(b"\n\r\n{}\n\n") == [b"{}"]


def read(line: bytes):
    return read_watch_line(line, PODS, "GET /api/v1/pods")


@pytest.mark.parametrize("type_", ["ADDED", "MODIFIED", "DELETED"])
def test_change_carries_object_and_version(type_):
    change = read(event(type_, pod("web", version="7")))
    assert (change.type, change.resource_version) == (type_, "7")
    assert change.object.metadata.name == "web"


def test_bookmark_carries_only_a_version():
    assert read(bookmark("9")) == WatchEvent("BOOKMARK", None, "9")


def test_type_of_the_future_moves_only_the_version():
    assert read(event("PONDERED", pod(version="9"))) == WatchEvent("BOOKMARK", None, "9")


def test_unreadable_object_moves_only_the_version():
    broken = pod(version="9")
    broken["spec"] = {"containers": [{"image": "nameless"}]}
    assert read(event("MODIFIED", broken)) == WatchEvent("BOOKMARK", None, "9")


def test_error_event_of_a_forgotten_version_is_expired():
    with pytest.raises(Expired, match="too old"):
        read(event("ERROR", status_document(410, "Expired", message="too old")))


def test_other_error_event_is_unavailable():
    with pytest.raises(KubernetesUnavailable):
        read(event("ERROR", status_document(500, "InternalError")))


@pytest.mark.parametrize("line", [b"<html>", b"[]", b"{}", b'{"type":"ADDED","object":null}'])
def test_line_that_is_no_event_is_unavailable(line):
    with pytest.raises(KubernetesUnavailable):
        read(line)
