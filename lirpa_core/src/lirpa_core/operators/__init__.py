"""Rules of ATen operators, grouped as users look for them."""
