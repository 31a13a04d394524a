"""Ways to compute bounds of a graph, on the rules of its operators."""
