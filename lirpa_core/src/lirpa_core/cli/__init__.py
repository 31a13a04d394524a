"""The command `lirpa`: what is installed, and what a model needs."""
