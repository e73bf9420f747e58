"""Clothes and skin: labels of the photo's size, in CIHP's numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import save_parsing
from torch.nn import functional

from siftvton.errors import InputError
from siftvton.prepare.config import ModelsConfig
from siftvton.prepare.labels import to_cihp
from siftvton.prepare.models import Models, parsing
from siftvton.prepare.models.parsing import ATR, load_parsing

CPU = torch.device("cpu")


def test_labels_have_the_photos_size_and_cihps_numbers(config: ModelsConfig, models: Models, photo: np.ndarray):
    model = load_parsing(config.parsing, CPU)
    with torch.no_grad():
        logits = model.network(**model.processor(photo, return_tensors="pt")).logits
    atr = functional.interpolate(logits, (200, 90), mode="bilinear").argmax(dim=1)[0].numpy()
    assert len(np.unique(atr)) > 3
    found = models.parsing(photo)
    assert (found.shape, found.dtype) == ((200, 90), np.uint8)
    assert np.array_equal(found, to_cihp(atr.astype(np.uint8), "atr"))


def test_labels_of_a_large_photo_are_found_in_a_smaller_size(models: Models, photo: np.ndarray, monkeypatch):
    whole = models.parsing(photo)
    monkeypatch.setattr(parsing, "LONGEST", 100)
    small = models.parsing(photo)
    assert small.shape == (200, 90)
    assert (small != whole).any()
    assert (small == whole).mean() > 0.9


@pytest.mark.parametrize("labels", [ATR[:-1], (*ATR, "glove"), (*ATR[:12], "right-leg", "left-leg", *ATR[14:])])
def test_a_model_with_other_labels_is_refused(tmp_path: Path, labels: tuple[str, ...]):
    with pytest.raises(
        InputError, match=r"^models\.parsing=.*other: its labels are not the 18 of ATR, but background, hat, .*trained"
    ):
        load_parsing(str(save_parsing(tmp_path / "other", labels)), CPU)
