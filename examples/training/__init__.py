"""What the training programs share: data from local folders, one loop, checkpoints, logs."""
