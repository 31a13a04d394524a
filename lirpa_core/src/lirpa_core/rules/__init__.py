"""Families of rules, and what a rule sees of a call."""
