"""Benchmarks of LiRA, run from a checkout: `python -m eval --help`."""
