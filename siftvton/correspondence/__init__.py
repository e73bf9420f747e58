"""Paper §3.1: two photos -> correspondences. Independent of models, data sets and configurations."""

from siftvton.correspondence.correspondences import Correspondences, Frame
from siftvton.correspondence.dense_field import with_dense_field
from siftvton.correspondence.filters import PRESETS
from siftvton.correspondence.key_points import KeyPointMatches, KeyPoints
from siftvton.correspondence.match_files import read_matches, write_matches
from siftvton.correspondence.matchers import MATCHERS, Matcher, matcher
from siftvton.correspondence.matching import find_correspondences

__all__ = [
    "MATCHERS",
    "PRESETS",
    "Correspondences",
    "Frame",
    "KeyPointMatches",
    "KeyPoints",
    "Matcher",
    "find_correspondences",
    "matcher",
    "read_matches",
    "with_dense_field",
    "write_matches",
]
