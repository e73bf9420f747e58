"""The matches found in pictures are the published ones (golden ``preprocess_sample``)."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from siftvton.correspondence import find_correspondences
from siftvton.data.layouts.base import AGNOSTIC_MASK, DENSEPOSE, GARMENT, GARMENT_PARSING, IMAGE
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.files import read_grey, read_image, read_labels

TOLERANCE = 0.01  # pixels


def test_matches_from_pixels_are_the_published_ones(golden: Callable[[str], Path]) -> None:
    published = json.loads(golden("preprocess_sample.json").read_text())
    root = golden("preprocess_sample")
    folder = VitonHD(root).split("train")
    pairs = VitonHD(root).split("train").matched_pairs()
    assert {pair.person_id for pair in pairs} == set(published)
    for pair in pairs:
        ours = find_correspondences(
            read_image(folder.require(IMAGE, pair.person)),
            read_image(folder.require(GARMENT, pair.garment)),
            densepose=read_image(folder.require(DENSEPOSE, pair.person)),
            agnostic_mask=read_grey(folder.require(AGNOSTIC_MASK, pair.person)),
            parsing=read_labels(folder.require(GARMENT_PARSING, pair.garment)),
        )
        theirs = np.array(published[pair.person_id]).reshape(-1, 2, 2)
        np.testing.assert_allclose(
            np.stack([ours.person, ours.garment], axis=1), theirs, rtol=0, atol=TOLERANCE, err_msg=pair.person_id
        )
