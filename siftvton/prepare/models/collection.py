"""All models that prepare a photo, each loaded when it is first needed."""

from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from siftvton.errors import InputError
from siftvton.prepare.config import ModelsConfig
from siftvton.prepare.joints import Joints
from siftvton.prepare.models import densepose, detector, files, parsing, pose
from siftvton.prepare.models.densepose import Program
from siftvton.prepare.models.transformers_model import Loaded
from siftvton.prepare.rendering import Box

AnyModel = TypeVar("AnyModel", Loaded, Program)


class NoPersonError(InputError):
    """The photo shows no person."""


class Models:
    """Find persons, joints, clothes and body parts in photos.

    Every method takes a photo (height, width, 3) uint8, red first, and answers in the photo's pixels. The first call
    of a method loads its model, and downloads it if it is not on this machine. The methods raise
    :class:`~siftvton.prepare.models.files.MissingModelError` if the model is switched off or cannot be had, and
    InputError if its files are damaged or of another kind.
    """

    def __init__(self, config: ModelsConfig, device: torch.device) -> None:
        """
        Args:
            config: where the models come from.
            device: where they run.
        """
        self._config = config
        self._device = device
        self._used: list[files.ModelFiles] = []

    def person_boxes(self, photo: np.ndarray) -> list[Box]:
        """The boxes of all persons, the largest first; at least one.

        Raises:
            NoPersonError: there is no person in the photo.
        """
        boxes = detector.person_boxes(self._detector, photo)
        if not boxes:
            raise NoPersonError("no person was found; use a photo that shows one person from head to hips")
        return boxes

    def joints(self, photo: np.ndarray, box: Box) -> Joints:
        """The joints of the person in a box; a joint that was not found has no entry."""
        return pose.joints(self._pose, photo, box)

    def parsing(self, photo: np.ndarray) -> np.ndarray:
        """Labels of clothes and skin in CIHP's numbers: (height, width) uint8."""
        return parsing.parsing(self._parsing, photo)

    def densepose(self, photo: np.ndarray, box: Box) -> np.ndarray:
        """The body parts of the person in a box: (height, width) uint8, 0 for background, 1 to 24.

        Raises:
            InputError: DensePose finds no person there.
        """
        return densepose.densepose(self._densepose, photo, box)

    def record(self, folder: Path) -> None:
        """Write the models used so far, with revision, SHA-256 and licence, to ``models.json`` in ``folder``."""
        files.record(folder, self._used)

    @cached_property
    def _detector(self) -> Loaded:
        return self._noted(detector.load_detector(self._config.detector, self._device))

    @cached_property
    def _pose(self) -> Loaded:
        return self._noted(pose.load_pose(self._config.pose, self._device))

    @cached_property
    def _parsing(self) -> Loaded:
        return self._noted(parsing.load_parsing(self._config.parsing, self._device))

    @cached_property
    def _densepose(self) -> Program:
        config = self._config
        return self._noted(densepose.load_densepose(config.densepose, config.densepose_sha256, self._device))

    def _noted(self, model: AnyModel) -> AnyModel:
        self._used.append(model.files)
        return model
