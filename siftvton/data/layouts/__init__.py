"""The layouts of data sets: how they organise pairs and files. Each layout has a module and is registered here.

The rest of the code asks a :class:`~siftvton.data.layouts.base.Layout` and never builds a path itself. To add a data
set, write a module with a subclass and add a line to :data:`LAYOUTS`; the key ``data.layout`` then allows its name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from siftvton.data.layouts.base import Layout

# Name -> module and class. Modules are imported on demand, so that --help does not load OpenCV.
LAYOUTS = {"vitonhd": ("siftvton.data.layouts.vitonhd", "VitonHD")}


def layout_of(name: str, root: str | Path, validation_pairs: int = 0, split_seed: int = 0) -> Layout:
    """Return the data set in ``root`` with the layout ``name``, one of :data:`LAYOUTS`; see ``Layout`` for the rest."""
    module, kind = LAYOUTS[name]
    return getattr(import_module(module), kind)(root, validation_pairs, split_seed)
