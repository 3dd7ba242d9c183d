"""The platform's event stream, as far as it is of interest."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.cloud.audit_stream import Changed, EventStreamParser, Missed
from kraftlet_trio.cloud.errors import CloudUnavailable


def an_event(uuid, kind="vm.state_change"):
    document = {"type": kind, "object": {"type": "i", "uuid": uuid, "tags": ["a"]}}
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(document) + b"\n\n"


EVENTS = {
    Changed("one"): an_event("one"),
    Changed("two"): an_event("two", "vm.start_failed").replace(b"\n", b"\r\n"),
    Missed(): b'event: gap\ndata: {"dropped":4}\n\n',
    None: b": heartbeat\n\n",
}


@given(st.lists(st.sampled_from(list(EVENTS))), st.data())
def test_events_are_read_wherever_the_stream_is_cut(wanted, data):
    stream = b"".join(EVENTS[hint] for hint in wanted)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    parser = EventStreamParser()
    found = [hint for piece in pieces for hint in parser.feed(piece)]
    assert found == [hint for hint in wanted if hint is not None]


@given(st.lists(st.one_of(st.binary(), st.sampled_from([b"data: {", b"\n", b"event: gap"]))))
def test_anything_else_is_passed_over(pieces):
    parser = EventStreamParser()
    for piece in pieces:
        assert all(isinstance(hint, Changed | Missed) for hint in parser.feed(piece))


def test_event_without_end_is_an_error_not_a_leak():
    parser = EventStreamParser()
    line = b"data: " + b"x" * 1000 + b"\n"
    with pytest.raises(CloudUnavailable, match="without end"):
        list(parser.feed(line * 2000))
