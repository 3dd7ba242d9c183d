"""What was learnt of images, for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

import attrs
import trio

T = TypeVar("T")

MOST_REMEMBERED = 256


@attrs.define
class Remembered(Generic[T]):
    """Values by key, each for some seconds; the least recently used give way."""

    _values: OrderedDict[Hashable, tuple[T, float]] = attrs.field(
        factory=OrderedDict, init=False, repr=False
    )

    def get(self, key: Hashable) -> T | None:
        value, until = self._values.get(key, (None, 0.0))
        if value is None:
            return None
        if trio.current_time() >= until:
            del self._values[key]
            return None
        self._values.move_to_end(key)
        return value

    def put(self, key: Hashable, value: T, *, seconds: float) -> None:
        self._values[key] = (value, trio.current_time() + seconds)
        self._values.move_to_end(key)
        while len(self._values) > MOST_REMEMBERED:
            self._values.popitem(last=False)
