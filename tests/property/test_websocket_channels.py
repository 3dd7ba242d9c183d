"""Channels: whatever is split however is read as it was meant, and anything else is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.streaming.websocket_channels import (
    BASE64_PROTOCOLS,
    CLOSING_PROTOCOL,
    MOST_MESSAGE_BYTES,
    ChannelData,
    ChannelEnded,
    ChannelReader,
    ChannelWriter,
)
from kraftlet_trio.streaming.websocket_command import WEBSOCKET_COMMAND_PROTOCOLS
from kraftlet_trio.streaming.websocket_errors import WebSocketError

PROTOCOLS = st.sampled_from([None, *WEBSOCKET_COMMAND_PROTOCOLS])
CHANNELS = st.integers(0, 64)
WRITTEN = st.lists(st.tuples(CHANNELS, st.binary(max_size=50)), max_size=6)


def as_bytes(message):
    return message.encode() if isinstance(message, str) else message


def cut(data, places):
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def read(reader, pieces):
    return [
        event
        for index, piece in enumerate(pieces)
        for event in reader.receive(piece, finished=index == len(pieces) - 1)
    ]


@given(PROTOCOLS, WRITTEN, st.lists(st.integers(0, 100), max_size=4))
def test_messages_in_any_fragments_are_read_as_written(protocol, written, places):
    writer, reader = ChannelWriter(protocol), ChannelReader(protocol)
    for channel, data in written:
        (message,) = writer.encode(channel, data)
        events = read(reader, cut(as_bytes(message), places))
        assert {event.channel for event in events} <= {channel}
        assert b"".join(event.data for event in events) == data


@given(PROTOCOLS, CHANNELS, st.binary(min_size=1, max_size=20), st.integers(1, 100_000))
def test_written_messages_are_small(protocol, channel, pattern, size):
    data = (pattern * (size // len(pattern) + 1))[:size]
    reader = ChannelReader(protocol)
    messages = [*ChannelWriter(protocol).encode(channel, data)]
    assert max(len(as_bytes(message)) for message in messages) <= 32 * 1024
    assert all(isinstance(message, str) == (protocol in BASE64_PROTOCOLS) for message in messages)
    events = [event for message in messages for event in read(reader, [as_bytes(message)])]
    assert b"".join(event.data for event in events) == data


@pytest.mark.parametrize("protocol", [None, *WEBSOCKET_COMMAND_PROTOCOLS])
def test_message_may_be_split_at_every_byte(protocol):
    (message,) = ChannelWriter(protocol).encode(1, b"some bytes")
    message = as_bytes(message)
    for place in range(len(message) + 1):
        events = read(ChannelReader(protocol), [message[:place], b"", message[place:]])
        assert b"".join(event.data for event in events) == b"some bytes"
    single = [message[place : place + 1] for place in range(len(message))]
    events = read(ChannelReader(protocol), single)
    assert b"".join(event.data for event in events) == b"some bytes"


@given(PROTOCOLS, st.lists(st.tuples(st.binary(max_size=20), st.booleans()), max_size=20))
def test_anything_is_read_or_refused(protocol, pieces):
    reader = ChannelReader(protocol)
    size = sum(len(piece) for piece, _ in pieces)
    got = 0
    try:
        for piece, finished in pieces:
            for event in reader.receive(piece, finished=finished):
                got += len(event.data) if isinstance(event, ChannelData) else 1
    except WebSocketError:
        refusing = BASE64_PROTOCOLS
    else:
        refusing = [protocol]
    assert protocol in refusing
    assert got <= size


@pytest.mark.parametrize("protocol", [None, *WEBSOCKET_COMMAND_PROTOCOLS])
@pytest.mark.parametrize("pieces", [[b"\xff\0"], [b"\xff", b"\0"], [b"", b"\xff", b"", b"\0"]])
def test_only_the_fifth_protocol_ends_channels(protocol, pieces):
    if protocol in BASE64_PROTOCOLS:
        return
    events = read(ChannelReader(protocol), pieces)
    expected = ChannelEnded(0) if protocol == CLOSING_PROTOCOL else ChannelData(255, b"\0")
    assert events == [expected]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"0A"],
        [b"0AB", b"C"],
        [b"0AA==AA=="],
        [b"0AA==", b"AA=="],
        [b"0A=AA"],
        [b"0=AAA"],
        [b"0AA\nA"],
        [b"0\xff\xff\xff\xff"],
        [b"0AAA ", b"AAAA"],
        [b"/AAAA"],
    ],
)
def test_malformed_base64_is_refused(pieces):
    with pytest.raises(WebSocketError):
        read(ChannelReader("base64.channel.k8s.io"), pieces)


@given(st.integers(1, 5))
def test_message_is_bounded_however_it_is_cut(parts):
    reader = ChannelReader(None)
    size = MOST_MESSAGE_BYTES // parts
    pieces = [bytes(size)] * parts + [bytes(MOST_MESSAGE_BYTES - size * parts)]
    read(reader, [b"", *pieces])
    with pytest.raises(WebSocketError) as refused:
        read(reader, [*pieces, b"x"])
    assert refused.value.code == 1009
