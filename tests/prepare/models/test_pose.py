"""Joints: pixels of the photo, COCO's numbering, the neck added."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_models import save_pose

from siftvton.errors import InputError
from siftvton.prepare.config import ModelsConfig
from siftvton.prepare.joints import NAMES
from siftvton.prepare.models import Models
from siftvton.prepare.models.pose import joints, load_pose

CPU = torch.device("cpu")
BOX = (10.0, 20.0, 70.0, 180.0)


def with_peaks(model, peaks: dict[int, tuple[int, int]], confidence: float = 0.9):
    """The model with another network: joint -> (row, column) of the peak in its heat map of 64 × 48 cells."""

    def network(pixels: torch.Tensor, dataset_index: torch.Tensor) -> SimpleNamespace:
        heatmaps = torch.zeros(1, 17, 64, 48)
        for joint, (row, column) in peaks.items():
            heatmaps[0, joint, row, column] = confidence
        return SimpleNamespace(heatmaps=heatmaps)

    return replace(model, network=network)


def test_joints_are_in_the_pixels_of_the_photo(config: ModelsConfig, photo: np.ndarray):
    """The network sees the box, widened to 3:4 and by a quarter: columns −35 to 115 and rows 0 to 200 of this photo."""
    model = with_peaks(load_pose(config.pose, CPU), {0: (16, 12), 5: (16, 36), 6: (48, 12)})
    found = joints(model, photo, BOX)
    x, y = 150 / 47, 200 / 63  # pixels from the middle of one cell to the next
    assert found["nose"] == pytest.approx([12 * x - 35, 16 * y], abs=1.5)
    assert found["left_shoulder"] == pytest.approx([36 * x - 35, 16 * y], abs=1.5)
    assert found["right_shoulder"] == pytest.approx([12 * x - 35, 48 * y], abs=1.5)
    assert found["neck"] == pytest.approx((found["left_shoulder"] + found["right_shoulder"]) / 2)


def test_joints_move_with_the_person(models: Models, photo: np.ndarray):
    found = []
    for x, y in ((80, 50), (180, 90)):
        larger = np.zeros((y + 250, x + 150, 3), np.uint8)
        larger[y : y + 200, x : x + 90] = photo
        found.append(models.joints(larger, (BOX[0] + x, BOX[1] + y, BOX[2] + x, BOX[3] + y)))
    assert found[0].has(*NAMES)
    for name in NAMES:
        assert found[1][name] - found[0][name] == pytest.approx([100, 40], abs=0.1)


def test_a_joint_with_a_low_peak_is_missing(config: ModelsConfig, photo: np.ndarray):
    model = load_pose(config.pose, CPU)
    assert joints(with_peaks(model, {0: (16, 12)}, confidence=0.25), photo, BOX).points == {}
    assert set(joints(with_peaks(model, {0: (16, 12)}, confidence=0.35), photo, BOX).points) == {"nose"}


def test_a_model_for_several_data_sets_is_asked_for_coco(config: ModelsConfig, photo: np.ndarray, tmp_path: Path):
    plus = Models(replace(config, pose=str(save_pose(tmp_path / "plus", experts=3))), CPU)
    assert plus.joints(photo, BOX).has(*NAMES)


def test_a_model_with_other_joints_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"^models\.pose=.*body: finds 52 joints; give a model that finds COCO's 17$"):
        load_pose(str(save_pose(tmp_path / "body", joints=52)), CPU)
