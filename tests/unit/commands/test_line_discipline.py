"""What is typed at a terminal that the daemon itself plays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.commands.line_discipline import (
    MOST_LINE_BYTES,
    Key,
    LineDiscipline,
    printed,
)


def typed(*pieces):
    """What is shown, and what the program gets."""
    discipline = LineDiscipline()
    shown, events = b"", []
    for piece in pieces:
        more, happened = discipline.typed(piece)
        shown += more
        events += happened
    return shown, events


def test_a_line_goes_to_the_program_when_it_is_whole():
    assert typed(b"ls -l") == (b"ls -l", [])
    assert typed(b"ls -l\r") == (b"ls -l\r\n", [b"ls -l\n"])
    assert typed(b"a\rb\n\r") == (b"a\r\nb\r\n\r\n", [b"a\n", b"b\n", b"\n"])


def test_characters_are_erased_whole():
    assert typed("lä\x7fs\r".encode()) == ("lä\b \bs\r\n".encode(), [b"ls\n"])
    assert typed(b"\x08\x7fx\r") == (b"x\r\n", [b"x\n"])
    assert typed(b"rm -rf\x15ls\r") == (b"rm -rf" + 6 * b"\b \b" + b"ls\r\n", [b"ls\n"])


def test_keys_with_a_meaning_are_told():
    assert typed(b"half\x03") == (b"half^C\r\n", [Key.INTERRUPT])
    assert typed(b"\x1c") == (b"^\\\r\n", [Key.QUIT])
    assert typed(b"\x04") == (b"", [Key.END_OF_FILE])
    assert typed(b"no line end\x04\x04") == (b"no line end", [b"no line end", Key.END_OF_FILE])


def test_a_line_without_an_end_is_bounded():
    _, events = typed(bytes(b"x" * 100_000), b"\r")
    assert events == [b"x" * MOST_LINE_BYTES + b"\n"]


def test_output_begins_its_lines_at_the_left():
    assert printed(b"one\ntwo\n") == b"one\r\ntwo\r\n"


@given(st.binary(max_size=60), st.data())
def test_how_it_comes_in_pieces_means_nothing(data, draw):
    cut = draw.draw(st.integers(0, len(data)))
    assert typed(data[:cut], data[cut:]) == typed(data)


@given(
    st.text(
        alphabet=st.characters(codec="utf-8", min_codepoint=0x20, exclude_characters="\x7f"),
        max_size=20,
    )
)
def test_what_is_typed_and_erased_was_never_there(text):
    # Control characters of Latin-1 are continuations of UTF-8 and nothing else here.
    discipline = LineDiscipline()
    discipline.typed(text.encode() + b"\x7f" * len(text))
    assert discipline.typed(b"ok\r")[1] == [b"ok\n"]
