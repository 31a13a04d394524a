"""The bound problem: a graph with its perturbed inputs and its constants bound, which every method works on."""
