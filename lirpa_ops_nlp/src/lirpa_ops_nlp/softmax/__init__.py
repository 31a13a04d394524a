"""Softmax and log-softmax: exact intervals and planes whose matrix is a diagonal minus an outer product."""
