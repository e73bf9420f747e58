"""Paper §3.1: two photos -> correspondences. Knows nothing of models, data sets or configurations."""

from siftvton.correspondence.correspondences import Correspondences, Frame
from siftvton.correspondence.files import read_matches, write_matches
from siftvton.correspondence.filters import PRESETS
from siftvton.correspondence.matching import find_correspondences

__all__ = ["PRESETS", "Correspondences", "Frame", "find_correspondences", "read_matches", "write_matches"]
