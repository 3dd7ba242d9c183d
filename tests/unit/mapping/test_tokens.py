import base64
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.mapping.tokens import renewal_of_token

HOUR = 3600
YEAR = 365 * 24 * HOUR


def a_token(**claims) -> str:
    payload = base64.urlsafe_b64encode(orjson.dumps(claims)).decode().rstrip("=")
    return f"eyJhbGciOiJSUzI1NiJ9.{payload}.c2lnbmF0dXJl"


@pytest.mark.parametrize("life", [HOUR, YEAR])
def test_a_token_is_renewed_after_four_fifths_of_its_own_life(life):
    issued = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    renewal = renewal_of_token(a_token(iat=issued, exp=issued + life))
    assert renewal.timestamp() == pytest.approx(issued + 0.8 * life, abs=1)


@pytest.mark.parametrize(
    "token",
    ["", "opaque", "a.b.c", "a.ü.c", a_token(), a_token(iat=1), a_token(iat=0, exp=1e300)],
)
def test_a_token_that_does_not_tell_is_not_renewed(token):
    assert renewal_of_token(token) is None


@given(st.one_of(st.text(), st.recursive(st.none() | st.text(), st.lists).map(orjson.dumps)))
def test_nothing_in_a_token_is_a_crash(content):
    raw = content if isinstance(content, bytes) else content.encode()
    renewal_of_token(f"a.{base64.urlsafe_b64encode(raw).decode()}.c")
    renewal_of_token(f"a.{raw.decode()}.c")
