"""What stands between `BoundedModule` and the engines: inputs in, checks, results out."""
