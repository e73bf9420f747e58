"""The layouts of data sets: how they organise pairs and files. Each layout has a module and is registered here.

The rest of the code asks a :class:`~siftvton.data.layouts.base.Layout` and never builds a path itself. To add a data
set, write a module with a subclass and add a line to :data:`LAYOUTS`; the key ``data.layout`` then allows its name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from siftvton.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from siftvton.data.layouts.base import Layout

# Name -> module and class. Modules are imported on demand, so that --help does not load OpenCV.
LAYOUTS = {
    "vitonhd": ("siftvton.data.layouts.vitonhd", "VitonHD"),
    "dresscode": ("siftvton.data.layouts.dresscode", "DressCode"),
}
AUTO = "auto"  # the layout that recognises the folder
CATEGORIES = ("upper_body", "lower_body", "dresses")  # of garments
ALL = "all"  # every category


def layout_of(
    name: str,
    root: str | Path,
    validation_pairs: int = 0,
    split_seed: int = 0,
    category: str = ALL,
    agnostic: str | Path | None = None,
) -> Layout:
    """Return the data set in ``root``.

    Args:
        name: one of :data:`LAYOUTS`, or ``auto`` to recognise it; VITON-HD's if none is recognised.
        root, validation_pairs, split_seed, category, agnostic: see :class:`~siftvton.data.layouts.base.Layout`.

    Raises:
        InputError: the folder is missing.
        UsageError: several layouts are recognised, or the data set does not have the category.
    """
    kind = _recognised(root) if name == AUTO else _class(name)
    return kind(root, validation_pairs, split_seed, category, agnostic)


def _class(name: str) -> type[Layout]:
    module, kind = LAYOUTS[name]
    found: type[Layout] = getattr(import_module(module), kind)
    return found


def _recognised(root: str | Path) -> type[Layout]:
    found = [name for name in LAYOUTS if _class(name).recognises(root)]
    if len(found) > 1:
        raise UsageError(
            f"data.root={root}: is organised like {' and like '.join(found)}; choose one by "
            f"data.layout={' or data.layout='.join(found)}"
        )
    return _class(found[0] if found else next(iter(LAYOUTS)))
