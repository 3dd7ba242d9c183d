"""SPDY frames: any split of any frames is read as it was meant, and anything else is refused."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.streaming.spdy_errors import SPDYError
from kraftlet_trio.streaming.spdy_frames import (
    MOST_CONTROL_BYTES,
    Data,
    FrameReader,
    FrameWriter,
    GoAway,
    Headers,
    Ping,
    RstStream,
    SynReply,
    SynStream,
)
from kraftlet_trio.streaming.spdy_header_block import (
    DICTIONARY,
    MOST_HEADER_BYTES,
    HeaderDecoder,
    HeaderEncoder,
)

IDS = st.integers(0, 2**31 - 1)
NAMES = st.text(
    st.characters(max_codepoint=127, exclude_categories=["Lu"]), min_size=1, max_size=20
)
HEADERS = st.dictionaries(NAMES, st.text(st.characters(max_codepoint=255), max_size=60), max_size=5)
FRAMES = st.one_of(
    st.builds(SynStream, IDS, HEADERS, st.booleans()),
    st.builds(SynReply, IDS, HEADERS, st.booleans()),
    st.builds(Headers, IDS, HEADERS, st.booleans()),
    st.builds(RstStream, IDS, st.integers(0, 2**32 - 1)),
    st.builds(Ping, st.integers(0, 2**32 - 1)),
    st.builds(GoAway, IDS, st.integers(0, 2**32 - 1)),
    st.builds(Data, IDS, st.binary(max_size=200), st.booleans()),
)


def test_the_dictionary_is_spdys():
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2
    digest = "51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02"
    assert hashlib.sha256(DICTIONARY).hexdigest() == digest


def joined(frames):
    """Parts of one data frame as the frame that was sent."""
    whole = []
    for frame in frames:
        last = whole[-1] if whole else None
        if isinstance(frame, Data) and isinstance(last, Data) and last.stream_id == frame.stream_id:
            whole[-1] = Data(frame.stream_id, last.data + frame.data, frame.fin)
        else:
            whole.append(frame)
    return whole


@given(st.lists(FRAMES, max_size=8), st.data())
def test_frames_come_out_as_they_went_in_however_they_are_split(frames, data):
    writer, reader = FrameWriter(), FrameReader()
    wire = b"".join(map(writer.encode, frames))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    received = [frame for piece in pieces for frame in reader.receive(piece)]
    assert joined(received) == joined(frames)


def test_every_single_byte_may_come_alone():
    frames = [
        SynStream(1, {"streamtype": "error"}),
        Data(1, b"abc"),
        Ping(1),
        Data(1, b"", fin=True),
        GoAway(0),
    ]
    writer, reader = FrameWriter(), FrameReader()
    wire = b"".join(map(writer.encode, frames))
    received = [frame for byte in wire for frame in reader.receive(bytes([byte]))]
    parts = [Data(1, b"a"), Data(1, b"b"), Data(1, b"c")]
    assert received == [frames[0], *parts, *frames[2:]]


@given(st.lists(HEADERS, max_size=6))
def test_header_blocks_build_on_each_other(blocks):
    encoder, decoder = HeaderEncoder(), HeaderDecoder()
    assert [decoder.decode(encoder.encode(block)) for block in blocks] == blocks


def test_a_block_as_go_writes_it_is_read():
    """The first of a connection, by golang.org's compress/zlib at its default level."""
    go = zlib.compressobj(9, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    plain = b"\0\0\0\x01\0\0\0\nstreamtype\0\0\0\x05error"
    block = go.compress(plain) + go.flush(zlib.Z_SYNC_FLUSH)
    assert block[2:6] == bytes.fromhex("e3c6a7c2")
    assert HeaderDecoder().decode(block) == {"streamtype": "error"}


def compressed(plain):
    encoder = zlib.compressobj(9, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    return encoder.compress(plain) + encoder.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (b"", "too early"),
        (b"nonsense", "cannot be decompressed"),
        (zlib.compress(b"\0\0\0\0"), "bytes"),
        (compressed(b"\0\0\0\x01" + bytes(10 * MOST_HEADER_BYTES)), "bytes"),
        (compressed(b"\xff\xff\xff\xff"), "4294967295 headers"),
        (compressed(b"\0\0\0\x01\xff\xff\xff\xff"), "too early"),
        (compressed(b"\0\0\0\x01\0\0\0\x01a\0\0\0\x09b"), "not as long"),
        (compressed(b"\0\0\0\0more"), "not as long"),
        (compressed(b"\0\0\0\x01\0\0\0\0\0\0\0\x01b"), "without a name"),
        (compressed(b"\0\0\0\x02" + 2 * b"\0\0\0\x01a\0\0\0\x01b"), "twice"),
    ],
)
def test_header_blocks_that_mean_harm_are_refused(block, said):
    with pytest.raises(SPDYError, match=said):
        HeaderDecoder().decode(block)


@given(st.binary(max_size=300))
def test_whatever_comes_is_frames_or_refused(noise):
    reader = FrameReader()
    try:
        for byte in noise:
            assert all(reader.receive(bytes([byte]))) or True
    except SPDYError:
        return
    assert len(reader._unread) <= MOST_CONTROL_BYTES + 8


@pytest.mark.parametrize(
    "wire",
    [
        b"\x80\x02\0\x01\0\0\0\0",  # version 2
        b"\x80\x03\0\x01\0\0\0\x05abcde",  # a SYN_STREAM that is too short
        b"\x80\x03\0\x02\0\0\0\x02ab",
        b"\x80\x03\0\x03\0\0\0\x04abcd",  # RST_STREAM of 4 bytes
        b"\x80\x03\0\x06\0\0\0\x05abcde",  # PING of 5
        b"\x80\x03\0\x07\0\0\0\x00",  # GOAWAY of none
        b"\x80\x03\0\x05\0\0\0\x00",  # NOOP is of version 2
        b"\x80\x03\0\x01\0\xff\xff\xff",  # 16 MiB of headers
    ],
)
def test_malformed_frames_are_refused(wire):
    with pytest.raises(SPDYError):
        list(FrameReader().receive(wire))


def test_settings_and_window_updates_mean_nothing():
    wire = b"\x80\x03\0\x04\0\0\0\x04\0\0\0\0" + b"\x80\x03\0\x09\0\0\0\x08" + bytes(8)
    assert list(FrameReader().receive(wire)) == []
