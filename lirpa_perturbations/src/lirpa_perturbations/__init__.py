"""Threat models for lirpa beyond Lp balls.

Importing is only needed for the classes themselves: once the package is installed, `lirpa_core` finds
`plugin` by its entry point.
"""

from lirpa_perturbations._version import __version__
from lirpa_perturbations.affine import PerturbationAffine
from lirpa_perturbations.categorical import PerturbationCategorical
from lirpa_perturbations.ellipsoid import PerturbationEllipsoid
from lirpa_perturbations.l0 import PerturbationL0Norm
from lirpa_perturbations.linear_constraints import PerturbationLinearConstraints
from lirpa_perturbations.patch import PerturbationPatch
from lirpa_perturbations.photometric import bias_field, brightness_contrast
from lirpa_perturbations.synonym import PerturbationSynonym
from lirpa_perturbations.synonym_encoding import EncodedSentences, encode_sentences
from lirpa_perturbations.synonym_table import Sentence, SynonymTable, load_sentences

__all__ = [
    "EncodedSentences",
    "PerturbationAffine",
    "PerturbationCategorical",
    "PerturbationEllipsoid",
    "PerturbationL0Norm",
    "PerturbationLinearConstraints",
    "PerturbationPatch",
    "PerturbationSynonym",
    "Sentence",
    "SynonymTable",
    "__version__",
    "bias_field",
    "brightness_contrast",
    "encode_sentences",
    "load_sentences",
]
