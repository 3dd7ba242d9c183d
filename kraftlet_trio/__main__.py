"""``python -m kraftlet_trio``."""

from kraftlet_trio.cli import main

main()
