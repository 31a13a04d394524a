"""The order of the gallery: from users' questions to authors' ones."""

from __future__ import annotations

ORDER = (
    "certify_classifier.py",
    "layer_by_layer.py",
    "closed_loop.py",
    "lyapunov.py",
    "segmentation.py",
    "word_substitution.py",
    "certified_training.py",
    "own_operator.py",
    "from_auto_lirpa.py",
)


class GalleryOrder:
    """A key for sorting file names, as Sphinx-Gallery wants one."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, filename: str) -> int:
        """The place of a file; one that is not in the list is an error."""
        return ORDER.index(filename)
