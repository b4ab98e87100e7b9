"""Comparisons that anyone can repeat: `python -m benchmarks.NAME`, or all of them with `python -m benchmarks`."""
