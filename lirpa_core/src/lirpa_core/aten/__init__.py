"""The core's own rules, in files by the kind of operator."""
