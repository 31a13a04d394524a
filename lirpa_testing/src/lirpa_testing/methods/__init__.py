"""What methods are tried on: their names, random networks, and an attack that knows nothing of relaxations."""
