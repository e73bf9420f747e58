"""How data sets arrange their pairs and files: one module for each arrangement, registered here.

The rest of the code asks a :class:`~siftvton.data.layouts.base.Layout` and never builds a path itself. To add a data
set, write a module with a subclass and add its line to :data:`LAYOUTS`; the key ``data.layout`` then allows its name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from siftvton.data.layouts.base import Layout

# Name -> module and class. They are imported when they are asked for, so that --help does without OpenCV.
LAYOUTS = {"vitonhd": ("siftvton.data.layouts.vitonhd", "VitonHD")}


def layout_of(name: str, root: str | Path, validation_pairs: int = 0, split_seed: int = 0) -> Layout:
    """The data set in ``root``, laid out as ``name``, one of :data:`LAYOUTS`, says; for the rest see ``Layout``."""
    module, kind = LAYOUTS[name]
    return getattr(import_module(module), kind)(root, validation_pairs, split_seed)
