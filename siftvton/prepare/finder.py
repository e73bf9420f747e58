"""What the models find in a picture, as far as the models can be had."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from siftvton.prepare.framing import Box
from siftvton.prepare.joints import Joints

if TYPE_CHECKING:  # the models need PyTorch and transformers, which take seconds to import
    from siftvton.prepare.models import Models

Found = TypeVar("Found")


class Finder:
    """The models, of which any may be missing.

    Every method returns None if its model is missing. A missing model is looked for only once.

    Attributes:
        missing: the model's key in the section ``models`` -> why it is missing, for each model that was asked.
    """

    def __init__(self, models: Models | None) -> None:
        """
        Args:
            models: the models; None: all of them are missing.
        """
        self._models = models
        self.missing: dict[str, str] = {}

    def persons(self, picture: np.ndarray) -> list[Box] | None:
        """The boxes of all persons in a picture (height, width, 3), the largest first; empty if there is none."""
        return self._asked("detector", lambda models: _boxes(models, picture))

    def joints(self, photo: np.ndarray, box: Box) -> Joints | None:
        """The joints of the person in a box."""
        return self._asked("pose", lambda models: models.joints(photo, box))

    def parsing(self, picture: np.ndarray) -> np.ndarray | None:
        """Labels of clothes and skin in CIHP's numbers: (height, width) uint8."""
        return self._asked("parsing", lambda models: models.parsing(picture))

    def densepose(self, photo: np.ndarray, box: Box) -> np.ndarray | None:
        """DensePose's labels of the person in a box: (height, width) uint8, 0 to 24."""
        return self._asked("densepose", lambda models: models.densepose(photo, box))

    def _asked(self, part: str, ask: Callable[[Models], Found]) -> Found | None:
        """Return the model's answer, or None if the model is missing."""
        if self._models is None or part in self.missing:
            return None
        from siftvton.prepare.models import MissingModelError

        try:
            return ask(self._models)
        except MissingModelError as error:
            self.missing[part] = str(error)
            return None


def _boxes(models: Models, picture: np.ndarray) -> list[Box]:
    from siftvton.prepare.models import NoPersonError

    try:
        return models.person_boxes(picture)
    except NoPersonError:
        return []
