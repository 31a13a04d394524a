"""Structures of coefficients: each operation compared with its own dense form."""
