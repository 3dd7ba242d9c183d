from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.simulators.cloud.logs import Log


@given(
    pieces=st.lists(st.binary(max_size=8)),
    capacity=st.integers(1, 20),
    offset=st.integers(-60, 60),
    limit=st.integers(0, 60),
)
def test_a_read_is_a_window_of_what_was_written(pieces, capacity, offset, limit):
    log = Log(capacity)
    for piece in pieces:
        log.append(piece)
    whole = b"".join(pieces)
    begin, output = log.read(offset, limit)
    assert log.end == len(whole)
    assert log.start == max(0, len(whole) - capacity)
    assert log.start <= begin <= log.end
    assert output == whole[begin : begin + limit]
    if 0 <= offset <= log.end and offset >= log.start:
        assert begin == offset
