"""A person's joints: ViTPose."""

import numpy as np
import torch
from transformers import VitPoseForPoseEstimation, VitPoseImageProcessor

from siftvton.errors import InputError
from siftvton.prepare.joints import Joints, from_coco17
from siftvton.prepare.models.files import broken
from siftvton.prepare.models.transformers_model import Loaded, load
from siftvton.prepare.rendering import Box

COCO_JOINTS = 17
LEAST_CONFIDENCE = 0.3  # the height of a joint's peak in its heat map; below it, the joint counts as missing


def load_pose(source: str | None, device: torch.device) -> Loaded:
    """Load the pose network; raises as :func:`siftvton.prepare.models.transformers_model.load`.

    Raises:
        InputError: also if the model does not find COCO's 17 joints.
    """
    model = load("pose", source, VitPoseForPoseEstimation, VitPoseImageProcessor, device)
    count = model.network.config.num_labels
    if count != COCO_JOINTS:
        raise InputError(f"{model.files.key}: finds {count} joints; give a model that finds COCO's {COCO_JOINTS}")
    return model


@torch.inference_mode()
def joints(model: Loaded, photo: np.ndarray, box: Box) -> Joints:
    """The joints of the person in a box, in the photo's pixels; a joint that was not found has no entry.

    Args:
        photo: (height, width, 3) uint8, red first.
        box: the person's box.
    """
    left, top, right, bottom = box
    boxes = [[[left, top, right - left, bottom - top]]]  # COCO's form
    with broken(model.files, "run"):
        inputs = model.processor(photo, boxes=boxes, return_tensors="pt", input_data_format="channels_last")
        outputs = model.network(inputs["pixel_values"].to(model.device), dataset_index=_coco(model))
        ((found,),) = model.processor.post_process_pose_estimation(outputs, boxes=boxes)
    rows = np.column_stack([found["keypoints"].numpy(), found["scores"].numpy()])  # (17, 3) x, y, confidence
    return from_coco17(rows.astype(np.float64), LEAST_CONFIDENCE)


def _coco(model: Loaded) -> torch.Tensor:
    """(1,) the number of COCO among the data sets that a ViTPose+ was trained on; other models ignore it."""
    return torch.zeros(1, dtype=torch.long, device=model.device)
