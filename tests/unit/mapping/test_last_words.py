"""The end of a console as a message."""

from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.mapping.last_words import MOST_BYTES, MOST_LINES, last_words


def test_short_console_is_told_whole():
    assert last_words(b"one\ntwo\n") == "one\ntwo\n"


def test_long_console_is_cut_to_its_last_lines_or_bytes_whichever_is_less():
    many = b"".join(b"%d\n" % number for number in range(1000))
    assert last_words(many).splitlines() == [str(number) for number in range(920, 1000)]
    long_lines = b"".join(b"x" * 99 + b"\n" for _ in range(100))
    assert len(last_words(long_lines)) == MOST_BYTES


def test_character_that_a_cut_splits_is_dropped():
    console = b"x" + "ü".encode() * MOST_BYTES
    assert set(last_words(console)) == {"ü"}


@given(st.binary(max_size=5000))
def test_any_console_becomes_a_bounded_text(console):
    words = last_words(console)
    assert len(words) <= MOST_BYTES
    assert words.removesuffix("\n").count("\n") < MOST_LINES
