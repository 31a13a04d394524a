"""Fuzzing: random networks, sets and methods, attacked, and judged in balls of arbitrary precision."""
