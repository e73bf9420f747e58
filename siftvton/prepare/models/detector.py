"""Persons in a photo: RT-DETR."""

import numpy as np
import torch
from transformers import RTDetrForObjectDetection, RTDetrImageProcessor

from siftvton.errors import InputError
from siftvton.prepare.models.files import broken
from siftvton.prepare.models.transformers_model import Loaded, load
from siftvton.prepare.rendering import Box

LEAST_SCORE = 0.5


def load_detector(source: str | None, device: torch.device) -> Loaded:
    """Load the person detector; raises as :func:`siftvton.prepare.models.transformers_model.load`.

    Raises:
        InputError: also if none of the model's classes is a person.
    """
    model = load("detector", source, RTDetrForObjectDetection, RTDetrImageProcessor, device)
    if _person(model) is None:
        raise InputError(f"{model.files.key}: none of its classes is called person; give a model trained on COCO")
    return model


@torch.inference_mode()
def person_boxes(model: Loaded, photo: np.ndarray) -> list[Box]:
    """The boxes of all persons in a photo, the largest first; empty if there is none.

    Args:
        photo: (height, width, 3) uint8, red first.
    """
    height, width = photo.shape[:2]
    with broken(model.files, "run"):
        inputs = model.processor(photo, return_tensors="pt", input_data_format="channels_last").to(model.device)
        outputs = model.network(**inputs)
        (found,) = model.processor.post_process_object_detection(
            outputs, threshold=LEAST_SCORE, target_sizes=[(height, width)]
        )
    boxes = found["boxes"][found["labels"] == _person(model)].cpu().double().numpy()  #     (persons, 4)
    boxes = boxes.clip(0, [width, height, width, height])
    sides = boxes[:, 2:] - boxes[:, :2]
    boxes = boxes[(sides >= 1).all(axis=1)]
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return [
        (left, top, right, bottom) for left, top, right, bottom in boxes[np.argsort(-areas, kind="stable")].tolist()
    ]


def _person(model: Loaded) -> int | None:
    """The number of the class of persons."""
    return next((number for number, name in model.network.config.id2label.items() if name == "person"), None)
