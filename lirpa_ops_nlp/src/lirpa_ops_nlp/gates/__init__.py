"""Gates of recurrent networks: joint planes for σ(x)·tanh(y) and σ(x)·y."""
