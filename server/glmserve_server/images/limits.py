"""What decoding one picture may take."""

from typing import Final

MAX_PIXELS: Final = 50_000_000
"""Width times height, as the file's head has them; large cameras make about this many."""

MAX_MEMORY: Final = 1024 * 1024 * 1024
"""Bytes of address space. The largest pictures take about 700 MB: four bytes a pixel, three times."""

CPU_SECONDS: Final = 10
"""The largest pictures take about two."""

WALL_SECONDS: Final = 30.0
"""A decoder that has not ended by then is killed: the machine is overloaded, or it has been stopped."""
