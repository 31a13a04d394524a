"""Formulas that several operators share: numbers in, planes out; no calls, no graph."""
