"""Perturbations: minima of linear forms compared with samples and attacks."""
