"""From a model to the graph of one example, by `torch.export`."""
