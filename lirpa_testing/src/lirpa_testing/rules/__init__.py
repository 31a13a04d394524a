"""Rules: bounds compared with samples, attacks, finite differences and proofs, on boxes that are drawn to break them."""
