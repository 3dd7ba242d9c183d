"""Compressed header blocks of SPDY/3.1: one zlib stream for each direction of a connection.

Every block of a direction must be encoded, or decoded, in the order of the wire, those of refused
streams among them, for each builds on all before it.

Source: SPDY protocol, draft 3.1, 2.6.10.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

from kraftlet_trio.streaming.spdy_errors import SPDYError

MOST_HEADER_BYTES = 16 * 1024
"""Of a block without its compression. Kubernetes sends some 100."""
MOST_HEADERS = 100

_WORDS = (  # those with a blank have an underscore in its place
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base content-encoding "
    "content-language content-length content-location content-md5 content-range content-type date "
    "etag expect expires from host if-match if-modified-since if-none-match if-range "
    "if-unmodified-since last-modified location max-forwards pragma proxy-authenticate "
    "proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status "
    "200_OK version HTTP/1.1 url public set-cookie keep-alive origin"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
    "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
    "gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(
        struct.pack(">I", len(word)) + word.replace("_", " ").encode() for word in _WORDS.split(" ")
    )
    + _TAIL.encode()
)


class HeaderEncoder:
    def __init__(self) -> None:
        self._zlib = zlib.compressobj(
            zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY
        )

    def encode(self, headers: Mapping[str, str]) -> bytes:
        """Names are in lower case."""
        block = bytearray(struct.pack(">I", len(headers)))
        for text in (text for pair in headers.items() for text in pair):
            encoded = text.encode("latin-1")
            block += struct.pack(">I", len(encoded)) + encoded
        return self._zlib.compress(bytes(block)) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class HeaderDecoder:
    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(15, DICTIONARY)

    def decode(self, block: bytes) -> dict[str, str]:
        """Names are in lower case; of several values of one name each stands behind a NUL.

        Raises:
            SPDYError: it is malformed or too large, and so nothing behind it can be decoded.
        """
        try:
            plain = self._zlib.decompress(block, MOST_HEADER_BYTES)
        except zlib.error as error:
            raise SPDYError(f"a header block cannot be decompressed: {error}") from error
        if self._zlib.unconsumed_tail or self._zlib.eof:
            raise SPDYError(f"a header block of more than {MOST_HEADER_BYTES} bytes")
        return _parsed(plain)


def _parsed(plain: bytes) -> dict[str, str]:
    texts: list[bytes] = []
    try:
        (count,) = struct.unpack_from(">I", plain)
        if count > MOST_HEADERS:
            raise SPDYError(f"{count} headers in one block")
        position = 4
        for _ in range(2 * count):
            (length,) = struct.unpack_from(">I", plain, position)
            position += 4
            texts.append(plain[position : position + length])
            position += length
    except struct.error as error:
        raise SPDYError("a header block ends too early") from error
    if position != len(plain):
        raise SPDYError("a header block is not as long as it says")
    names = [name.decode("latin-1").lower() for name in texts[::2]]
    if "" in names or len(set(names)) != len(names):
        raise SPDYError("a header without a name, or twice")
    return dict(zip(names, (value.decode("latin-1") for value in texts[1::2]), strict=True))
