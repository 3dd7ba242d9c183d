"""What a terminal does to characters on their way to and from a program that has none.

The few rules of a terminal's usual mode without which nobody could type a line: echo, erasing,
line ends, the interrupt and end-of-file characters. Sans-IO. Source: termios(3).
"""

from __future__ import annotations

from enum import Enum

import attrs

MOST_LINE_BYTES = 4096
_CONTINUATION = range(0x80, 0xC0)
"""Of a character in UTF-8."""


class Key(Enum):
    INTERRUPT = "^C"
    QUIT = "^\\"
    END_OF_FILE = "^D"


@attrs.define(eq=False)
class LineDiscipline:
    """Collects a line until it is whole."""

    _line: bytearray = attrs.field(factory=bytearray, init=False)

    def typed(self, data: bytes) -> tuple[bytes, list[bytes | Key]]:
        """What to show for typed *data*, and what the program gets: lines, and keys with a meaning.

        An end-of-file behind characters hands these over; it is one only on an empty line.
        """
        shown = bytearray()
        events: list[bytes | Key] = []
        for byte in data:
            match byte:
                case 0x0D | 0x0A:
                    shown += b"\r\n"
                    events.append(self._take() + b"\n")
                case 0x7F | 0x08:
                    shown += self._erase_one()
                case 0x15:  # ^U
                    while self._line:
                        shown += self._erase_one()
                case 0x03 | 0x1C:  # ^C, ^\
                    key = Key.INTERRUPT if byte == 0x03 else Key.QUIT
                    shown += key.value.encode() + b"\r\n"
                    self._line.clear()
                    events.append(key)
                case 0x04:  # ^D
                    events.append(self._take() if self._line else Key.END_OF_FILE)
                case _ if len(self._line) < MOST_LINE_BYTES and (byte >= 0x20 or byte == 0x09):
                    self._line.append(byte)
                    shown.append(byte)
                case _:
                    pass
        return bytes(shown), events

    def _take(self) -> bytes:
        line = bytes(self._line)
        self._line.clear()
        return line

    def _erase_one(self) -> bytes:
        if not self._line:
            return b""
        while len(self._line) > 1 and self._line[-1] in _CONTINUATION:
            self._line.pop()
        self._line.pop()
        return b"\b \b"


def printed(data: bytes) -> bytes:
    """A program's output as a terminal in raw mode needs it."""
    return data.replace(b"\n", b"\r\n")
