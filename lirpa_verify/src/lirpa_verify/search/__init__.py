"""Branch and bound."""

from lirpa_verify.search.input_splitting import InputSplitting
from lirpa_verify.search.neuron_splitting import NeuronSplitting

__all__ = ["InputSplitting", "NeuronSplitting"]
