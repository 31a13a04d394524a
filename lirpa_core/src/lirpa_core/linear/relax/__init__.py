"""The relaxation pass: coefficients through lines below and above each element."""
