"""Intervals, linear operators, relaxations, and structured coefficients."""
