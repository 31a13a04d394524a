"""The public face: `BoundedModule`, the functional layer, options, and what users get back."""
