"""What bounds are made of: intervals, affine relaxations, linear operators and structured coefficients."""
