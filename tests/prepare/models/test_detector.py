"""Boxes of persons: pixels of the photo, the largest first."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import save_detector

from siftvton.errors import InputError
from siftvton.prepare.config import ModelsConfig
from siftvton.prepare.models import Models, NoPersonError
from siftvton.prepare.models.detector import LEAST_SCORE, load_detector, person_boxes

CPU = torch.device("cpu")
PERSON = 1  # the class's number in the tiny model; in COCO it is 0


def test_boxes_are_in_the_pixels_of_a_photo_that_is_not_square(config: ModelsConfig, photo: np.ndarray):
    model = load_detector(config.detector, CPU)
    with torch.no_grad():
        outputs = model.network(**model.processor(photo, return_tensors="pt"))
    relative = outputs.pred_boxes[0].numpy()  # (8, 4): centre and sides, as shares of the photo's width and height
    corners = np.concatenate([relative[:, :2] - relative[:, 2:] / 2, relative[:, :2] + relative[:, 2:] / 2], axis=1)
    expected = corners * [90, 200, 90, 200]
    boxes = person_boxes(model, photo)
    assert len(boxes) > 2
    for box in boxes:
        assert np.abs(expected - box).max(axis=1).min() < 1e-3


def test_the_largest_person_comes_first(models: Models, photo: np.ndarray):
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in models.person_boxes(photo)]
    assert len(areas) > 2
    assert areas == sorted(areas, reverse=True)


def test_boxes_of_other_classes_are_left_out(config: ModelsConfig, photo: np.ndarray):
    model = load_detector(config.detector, CPU)
    with torch.no_grad():
        scores = model.network(**model.processor(photo, return_tensors="pt")).logits[0].sigmoid()
    best = scores.flatten().topk(len(scores))
    found = (best.indices % 2 == PERSON) & (best.values > LEAST_SCORE)
    assert 0 < found.sum() < len(scores)
    assert len(person_boxes(model, photo)) == found.sum()


def test_boxes_end_at_the_edge_of_the_photo(config: ModelsConfig, photo: np.ndarray):
    model = load_detector(config.detector, CPU)

    def too_large(**inputs):
        outputs = model.network(**inputs)
        outputs.pred_boxes[:] = torch.tensor([0.5, 0.5, 1.5, 2.5])
        return outputs

    too_large.config = model.network.config  # type: ignore[attr-defined]
    assert set(person_boxes(replace(model, network=too_large), photo)) == {(0, 0, 90, 200)}


def test_a_photo_without_a_person_is_an_error_of_one_line(config: ModelsConfig, photo: np.ndarray, tmp_path: Path):
    timid = replace(config, detector=str(save_detector(tmp_path / "timid", bias=-8)))
    with pytest.raises(NoPersonError, match=r"^no person was found; use a photo that shows one person"):
        Models(timid, CPU).person_boxes(photo)


def test_a_model_that_knows_no_persons_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"^models\.detector=.*cats: none of its classes is called person"):
        load_detector(str(save_detector(tmp_path / "cats", ("cat", "dog"))), CPU)
