"""Logs are cut from bytes alike however these come, against models on the whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.consoles import lines as log_lines
from kraftlet_trio.consoles.lines import LineCutter, LogForm, TailSearch, timestamp

# Few different bytes, so that lines, empty ones and halves of characters are all frequent.
CONSOLES = (
    st.lists(
        st.sampled_from([b"\n", b"a", b"\r\n", "é".encode(), b"\xe2", b"\xff\x00", b"line\n"])
    ).map(b"".join)
    | st.binary()
)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def time_of(offset: int) -> datetime:
    return EPOCH + timedelta(milliseconds=offset)


def split(data: bytes, borders: list[int]) -> list[bytes]:
    places = [0, *sorted(border % (len(data) + 1) for border in borders), len(data)]
    return [data[begin:end] for begin, end in pairwise(places)]


def cut(pages: list[bytes]) -> list[log_lines.Piece]:
    cutter = LineCutter(0)
    pieces = [piece for page in pages for piece in cutter.feed(page)]
    return [*pieces, *cutter.finish()]


@given(data=CONSOLES, borders=st.lists(st.integers(0, 500)))
def test_lines_do_not_depend_on_the_pages(data, borders):
    pieces = cut(split(data, borders))
    assert [piece.data for piece in pieces] == model_lines(data)
    assert all(data[one.offset :].startswith(one.data) for one in pieces)
    assert all(piece.begins_line for piece in pieces)


def model_lines(data: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return [line for line in lines if line]


@given(data=CONSOLES, borders=st.lists(st.integers(0, 500)), longest=st.integers(1, 10))
def test_long_lines_come_in_pieces_that_do_not_depend_on_the_pages(data, borders, longest):
    normal, log_lines.LONGEST_PIECE_BYTES = log_lines.LONGEST_PIECE_BYTES, longest
    try:
        pieces = cut(split(data, borders))
        assert pieces == cut([data])
    finally:
        log_lines.LONGEST_PIECE_BYTES = normal
    assert b"".join(piece.data for piece in pieces) == data
    assert all(len(piece.data) <= longest for piece in pieces)
    begins = {piece.offset for piece in pieces if piece.begins_line}
    offsets, offset = set(), 0
    for line in model_lines(data):
        offsets.add(offset)
        offset += len(line)
    assert begins == offsets


@given(data=CONSOLES, lines=st.integers(0, 20), page_bytes=st.integers(1, 40))
def test_tail_is_the_last_lines_of_the_whole(data, lines, page_bytes):
    search = TailSearch(lines, len(data))
    while not search.is_found and search.offset > 0:
        begin = max(0, search.offset - page_bytes)
        search.feed(data[begin : search.offset])
    kept = model_lines(data)
    assert data[search.offset :] == b"".join(kept[max(0, len(kept) - lines) :] if lines else [])


@given(data=CONSOLES, limit=st.integers(1, 300), timestamps=st.booleans())
def test_limit_is_exact_with_prefixes_counted(data, limit, timestamps):
    whole = LogForm(timestamps=timestamps, time_of=time_of)
    limited = LogForm(timestamps=timestamps, bytes_left=limit, time_of=time_of)
    pieces = cut([data])
    sent = b"".join(map(limited.sent, pieces))
    assert sent == b"".join(map(whole.sent, pieces))[:limit]
    assert limited.is_full == (len(sent) == limit)


@given(data=CONSOLES, since=st.integers(0, 300), longest=st.integers(1, 10))
def test_since_leaves_out_whole_lines_of_earlier_times(data, since, longest):
    form = LogForm(since=time_of(since), time_of=time_of)
    normal, log_lines.LONGEST_PIECE_BYTES = log_lines.LONGEST_PIECE_BYTES, longest
    try:
        sent = b"".join(map(form.sent, cut([data])))
    finally:
        log_lines.LONGEST_PIECE_BYTES = normal
    offset, expected = 0, b""
    for line in model_lines(data):
        expected += line if offset >= since else b""
        offset += len(line)
    assert sent == expected


def test_timestamp_has_nine_digits():
    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, 60, tzinfo=UTC)) == (
        b"2026-01-02T03:04:05.000060000Z "
    )


def test_lost_bytes_end_a_line_and_the_next_begins_where_they_end():
    cutter = LineCutter(0)
    assert list(cutter.feed(b"one\ntw")) == [log_lines.Piece(0, b"one\n")]
    assert list(cutter.finish()) == [log_lines.Piece(4, b"tw")]
    cutter.skip_to(100)
    assert list(cutter.feed(b"ree\n")) == [log_lines.Piece(100, b"ree\n")]
