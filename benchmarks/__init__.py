"""Benchmarks: every promise of speed, memory and strength as a number with its bound. `python -m benchmarks --help`."""
