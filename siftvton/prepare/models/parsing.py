"""Clothes and skin: SegFormer with ATR's labels, returned in CIHP's numbers."""

import cv2
import numpy as np
import torch
from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

from siftvton.errors import InputError
from siftvton.prepare.labels import to_cihp
from siftvton.prepare.models.files import broken
from siftvton.prepare.models.transformers_model import Loaded, load
from siftvton.weight_files import shown

ATR = (
    *("background", "hat", "hair", "sunglasses", "upper-clothes", "skirt", "pants", "dress", "belt"),
    *("left-shoe", "right-shoe", "face", "left-leg", "right-leg", "left-arm", "right-arm", "bag", "scarf"),
)
# Pixels. The network's own map has at most a few hundred a side. In a larger photo, labels of this size are enlarged:
# 18 maps of a 40-megapixel photo would take 3 GB.
LONGEST = 2048


def load_parsing(source: str | None, device: torch.device) -> Loaded:
    """Load the parsing network; raises as :func:`siftvton.prepare.models.transformers_model.load`.

    Raises:
        InputError: also if the model's labels are not ATR's.
    """
    model = load("parsing", source, SegformerForSemanticSegmentation, SegformerImageProcessor, device)
    names = [str(name).lower().replace("_", "-") for _, name in sorted(model.network.config.id2label.items())]
    if tuple(names) != ATR:
        raise InputError(
            f"{model.files.key}: its labels are not the 18 of ATR, but {shown(', '.join(names))}; give a model "
            "trained on ATR"
        )
    return model


@torch.inference_mode()
def parsing(model: Loaded, photo: np.ndarray) -> np.ndarray:
    """Labels of clothes and skin in CIHP's numbers: (height, width) uint8.

    Args:
        photo: (height, width, 3) uint8, red first.
    """
    height, width = photo.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    with broken(model.files, "run"):
        inputs = model.processor(photo, return_tensors="pt", input_data_format="channels_last").to(model.device)
        (labels,) = model.processor.post_process_semantic_segmentation(model.network(**inputs), target_sizes=[size])
    atr = labels.cpu().numpy().astype(np.uint8)
    return to_cihp(cv2.resize(atr, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), "atr")
