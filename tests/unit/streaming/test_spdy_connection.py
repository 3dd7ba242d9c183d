"""The server's state machine, met by a client that does as it likes."""

from __future__ import annotations

import pytest

from kraftlet_trio.streaming.spdy_connection import (
    MOST_STREAMS,
    DataReceived,
    SPDYConnection,
    StreamEnded,
    StreamOpened,
    StreamReset,
)
from kraftlet_trio.streaming.spdy_frames import (
    Data,
    FrameReader,
    FrameWriter,
    GoAway,
    Headers,
    Ping,
    ResetStatus,
    RstStream,
    SynReply,
    SynStream,
)


class Talk:
    """A connection, and what it says."""

    def __init__(self):
        self._sent = bytearray()
        self.connection = SPDYConnection(self._sent.extend)
        self._writer, self._reader = FrameWriter(), FrameReader()

    def hear(self, *frames):
        return list(self.connection.receive(b"".join(map(self._writer.encode, frames))))

    def said(self):
        data, self._sent[:] = bytes(self._sent), b""
        return list(self._reader.receive(data))


@pytest.fixture
def talk():
    return Talk()


def test_two_streams_may_be_opened_in_one_segment(talk):
    events = talk.hear(SynStream(1, {"a": "1"}), SynStream(3, {"a": "3"}), Data(3, b"x"))
    assert events == [
        StreamOpened(1, {"a": "1"}),
        StreamOpened(3, {"a": "3"}),
        DataReceived(3, b"x"),
    ]
    talk.connection.accept(1)
    talk.connection.accept(3)
    assert talk.said() == [SynReply(1), SynReply(3)]


def test_fin_may_come_with_data_or_with_the_stream(talk):
    assert talk.hear(SynStream(1, {}), Data(1, b"x", fin=True))[1:] == [
        DataReceived(1, b"x"),
        StreamEnded(1),
    ]
    assert talk.hear(SynStream(3, {}, fin=True)) == [StreamOpened(3, {}), StreamEnded(3)]


@pytest.mark.parametrize("number", [0, 1, 2, 4])
def test_numbers_that_are_not_the_clients_next_are_refused(talk, number):
    talk.hear(SynStream(1, {}))
    assert talk.hear(SynStream(number, {"still": "decoded"})) == []
    assert talk.said() == [RstStream(number, ResetStatus.PROTOCOL_ERROR)]
    assert talk.hear(Data(1, b"on")) == [DataReceived(1, b"on")]
    assert talk.hear(SynStream(5, {"still": "decoded"})) == [StreamOpened(5, {"still": "decoded"})]


def test_data_after_the_end_resets_the_stream(talk):
    talk.hear(SynStream(1, {}), Data(1, fin=True))
    assert talk.hear(Data(1, b"x")) == [StreamReset(1)]
    assert talk.said() == [RstStream(1, ResetStatus.STREAM_ALREADY_CLOSED)]


def test_data_of_a_stream_that_is_gone_is_nobodys_and_that_of_one_never_opened_refused(talk):
    talk.hear(SynStream(1, {}))
    talk.connection.reset(1)
    talk.said()
    assert talk.hear(Data(1, b"late")) == []
    assert talk.said() == []
    assert talk.hear(Data(9, b"early")) == []
    assert talk.said() == [RstStream(9, ResetStatus.INVALID_STREAM)]


def test_streams_are_bounded_and_places_become_free(talk):
    numbers = range(1, 2 * MOST_STREAMS, 2)
    assert len(talk.hear(*(SynStream(number, {}) for number in numbers))) == MOST_STREAMS
    one_more = 2 * MOST_STREAMS + 1
    assert talk.hear(SynStream(one_more, {})) == []
    assert talk.said() == [RstStream(one_more, ResetStatus.REFUSED_STREAM)]
    talk.connection.end(1)
    talk.hear(Data(1, fin=True))
    assert talk.hear(SynStream(one_more + 2, {})) == [StreamOpened(one_more + 2, {})]


def test_pings_of_the_client_are_answered_and_answers_are_not(talk):
    assert talk.hear(Ping(7), Ping(8)) == []
    assert talk.said() == [Ping(7)]


def test_what_has_no_meaning_is_passed_over(talk):
    talk.hear(SynStream(1, {}))
    strange = (SynReply(1), Headers(1, {"x": "y"}), GoAway(0), RstStream(99, 5))
    assert talk.hear(*strange, Data(1, b"x")) == [DataReceived(1, b"x")]
    assert talk.said() == []


def test_reset_by_the_client_is_told_once(talk):
    talk.hear(SynStream(1, {}))
    assert talk.hear(RstStream(1, 5), RstStream(1, 5)) == [StreamReset(1)]
    talk.connection.end(1)
    talk.connection.reset(1)
    talk.connection.accept(1)
    assert talk.said() == []


def test_it_leaves_with_every_stream_ended_and_says_so_last(talk):
    talk.hear(SynStream(1, {}), SynStream(3, {}), Data(1, fin=True))
    talk.connection.end(1)
    talk.connection.end(1)
    talk.connection.leave()
    assert talk.said() == [Data(1, fin=True), RstStream(3, ResetStatus.CANCEL), GoAway(3)]
