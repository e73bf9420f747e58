"""Attention supervision by correspondences (paper §3.2), for models built on diffusers' attention layers."""

from siftvton.supervision.attention import Recorder, observe, regularise, supervise, supervise_flow, supervise_places
from siftvton.supervision.layers import Layer
from siftvton.supervision.layouts import Concatenated, Cross, Extended, Joint, Layout, find_layouts
from siftvton.supervision.reference import ReferenceAttention, SparseReference

__all__ = [
    "Concatenated",
    "Cross",
    "Extended",
    "Joint",
    "Layer",
    "Layout",
    "Recorder",
    "ReferenceAttention",
    "SparseReference",
    "find_layouts",
    "observe",
    "regularise",
    "supervise",
    "supervise_flow",
    "supervise_places",
]
