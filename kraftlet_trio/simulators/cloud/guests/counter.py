"""Counts aloud: one line with the next number each second, or each ``$SECONDS_A_LINE``."""

from __future__ import annotations

import os
import time
from itertools import count


def main() -> None:
    seconds = float(os.environ.get("SECONDS_A_LINE", "1"))
    for number in count(1):
        print(number, flush=True)
        time.sleep(seconds)


if __name__ == "__main__":
    main()
