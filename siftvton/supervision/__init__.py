"""Attention supervision by correspondences (paper §3.2), for any model built on diffusers' ``Attention``."""

from siftvton.supervision.attention import Recorder, regularise, supervise
from siftvton.supervision.reference import ReferenceAttention, SparseReference

__all__ = ["Recorder", "ReferenceAttention", "SparseReference", "regularise", "supervise"]
