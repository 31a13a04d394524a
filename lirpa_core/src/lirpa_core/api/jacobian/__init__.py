"""Bounds of derivatives: the Jacobian of a model, its norms, the local Lipschitz constant."""
