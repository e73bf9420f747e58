"""The matchers that can search a photo pair, and how to add one.

To add a matcher:

1. Write a class with the method :meth:`Matcher.match` in a new module of this package. Load weights and import heavy
   libraries in its constructor: the matcher is built once in a process, and only if it is chosen.
2. Register the class: one line in :data:`MATCHERS`.
3. Add the name to the choices of ``matcher`` in the configuration of ``preprocess_sift``. A test fails until both
   lists agree.

A matcher has to give points and distances. Size and angle are optional: filters that need them do not run without
them. This complete matcher follows every eighth pixel by optical flow::

    class Flow:
        def match(self, person, garment, areas):
            grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (person, garment)]
            flow = cv2.DISOpticalFlow.create().calc(*grey, None)  #     (height, width, 2)
            height, width = flow.shape[:2]
            row, column = np.mgrid[4:height:8, 4:width:8].reshape(2, -1)
            start = np.stack([column, row], axis=1)  #                  (N, 2)
            end = start + flow[row, column]
            inside = ((end >= 0) & (end <= [width - 1, height - 1])).all(axis=1)
            on_person, on_garment = KeyPoints.at(start[inside], person), KeyPoints.at(end[inside], garment)
            distance = np.abs(on_person.rgb - on_garment.rgb.astype(float)).sum(axis=1)
            found = KeyPointMatches.ranked(on_person, on_garment, distance)
            return [found.within(area) for area in areas]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

from siftvton.correspondence.asift import Asift
from siftvton.correspondence.key_points import KeyPointMatches
from siftvton.correspondence.regions import Region
from siftvton.correspondence.sift import Sift
from siftvton.errors import UsageError


class Matcher(Protocol):
    """Finds the points of two pictures that show the same spot."""

    def match(self, person: np.ndarray, garment: np.ndarray, areas: Sequence[Region]) -> Sequence[KeyPointMatches]:
        """Match the two pictures in each of several areas.

        All areas come in one call, so that work that they share is done once. The same input gives the same matches.

        Args:
            person: (height, width, 3) uint8, red first.
            garment: (height, width, 3) uint8, red first, of the same size.
            areas: where to search. An area can be empty on either side.

        Returns:
            For each area, its matches before any filter, in pixels of the pictures. No point is outside its picture.
            :meth:`KeyPointMatches.within` selects an area's matches from those of the whole pictures.
        """
        ...


def _lightglue(weights: Path) -> Matcher:
    from siftvton.correspondence.lightglue import LightGlue

    return LightGlue(weights)


# A matcher's name -> what builds it, from its folder of weights if it has any.
MATCHERS: dict[str, Callable[..., Matcher]] = {
    "sift": Sift,
    "asift": Asift,
    "lightglue": _lightglue,
}
WITH_WEIGHTS = ("lightglue",)


@cache
def matcher(name: str, weights: Path | None = None) -> Matcher:
    """The matcher of a name in :data:`MATCHERS`, built once in a process.

    Args:
        name: the matcher.
        weights: the folder of its weights, for those in :data:`WITH_WEIGHTS`.

    Raises:
        UsageError: no matcher has this name, or it requires weights or has none.
        InputError: the weights cannot be loaded.
    """
    if name not in MATCHERS:
        raise UsageError(f"matcher={name} is not allowed; use one of: {', '.join(MATCHERS)}")
    require_weights(name, given=weights is not None)
    return MATCHERS[name]() if weights is None else MATCHERS[name](weights)


def require_weights(name: str, given: bool) -> None:
    """Check that weights are given if a matcher requires them, and only then.

    Raises:
        UsageError: they are missing, or the matcher has none.
    """
    if given and name not in WITH_WEIGHTS:
        raise UsageError(f"matcher={name} has no weights; remove matcher_weights, or use one of: {WITH_WEIGHTS[0]}")
    if not given and name in WITH_WEIGHTS:
        raise UsageError(f"matcher={name} requires weights; give a folder or a repository by matcher_weights")
