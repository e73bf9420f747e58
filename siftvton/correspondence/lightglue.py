"""LightGlue on SuperPoint's key points: two networks of the transformers library (Lindenberger et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import LightGlueForKeypointMatching

from siftvton.correspondence.key_points import KeyPointMatches, KeyPoints
from siftvton.correspondence.regions import Region
from siftvton.errors import InputError, first_line
from siftvton.files import read_json

CONFIG, WEIGHTS = "config.json", "model.safetensors"
STRIDE = 8  # pixels; SuperPoint's cells
LEAST_SCORE = 0.1  # LightGlue's own threshold


class LightGlue:
    """Match the whole pictures once, then select each region's matches.

    SuperPoint measures neither size nor angle, so the filters that need them do not run. The networks run on the CPU.
    """

    def __init__(self, weights: Path) -> None:
        """Load the networks.

        Args:
            weights: a folder with ``config.json`` and ``model.safetensors``, as the library saves the model.

        Raises:
            InputError: the files are missing or damaged, or hold another kind of model or NaN or infinite values.
        """
        self._network = _load(weights)

    def match(self, person: np.ndarray, garment: np.ndarray, areas: Sequence[Region]) -> list[KeyPointMatches]:
        """The matches of each region, as :class:`siftvton.correspondence.matchers.Matcher` defines them."""
        on_person, on_garment, score = self._points(person, garment)
        limit = np.array(person.shape[1::-1]) - 1
        inside = ((on_person <= limit) & (on_garment <= limit)).all(axis=1)  # not in the padding
        found = KeyPointMatches.ranked(
            KeyPoints.at(on_person[inside], person), KeyPoints.at(on_garment[inside], garment), 1 - score[inside]
        )
        return [found.within(area) for area in areas]

    @torch.inference_mode()
    def _points(self, person: np.ndarray, garment: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Matched points of both pictures, (N, 2) pixels each, and their scores (N,) from 0 to 1."""
        pixels = torch.from_numpy(np.stack([_grey(person), _grey(garment)]))  #  (2, height, width)
        out = self._network(pixel_values=pixels[None, :, None].expand(-1, -1, 3, -1, -1))
        # (1, 2, points), or (2, points) if the configuration switches early stopping off
        index, score = (each.reshape(2, -1)[0] for each in (out.matches.long(), out.matching_scores))
        matched = (index >= 0) & (score > LEAST_SCORE)
        size = torch.tensor(pixels.shape[:0:-1])
        # The library's own post-processing rounds to whole pixels, so it is not used.
        on_person, on_garment = out.keypoints[0] * size  #                       (points, 2) each
        chosen = on_person[matched], on_garment[index[matched]], score[matched]
        return tuple(each.numpy() for each in chosen)


def _grey(picture: np.ndarray) -> np.ndarray:
    """Grey levels from 0 to 1, float32, padded at the right and at the bottom to multiples of ``STRIDE``."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    return np.pad(grey, [(0, -length % STRIDE) for length in grey.shape])


def _load(folder: Path) -> Any:
    """The network in evaluation mode, in float32, from JSON and safetensors alone."""
    config = read_json(folder / CONFIG)
    config = config if isinstance(config, dict) else {}
    detector = config.get("keypoint_detector_config")
    detector = detector if isinstance(detector, dict) else {}
    kinds = [each.get("model_type") for each in (config, detector)]
    if kinds != ["lightglue", "superpoint"]:
        raise InputError(
            f"{folder / CONFIG}: has model types {kinds[0]!r} and {kinds[1]!r}; LightGlue with SuperPoint is required"
        )
    if "auto_map" in config or "auto_map" in detector:
        raise InputError(f"{folder / CONFIG}: names a program (auto_map); remove that entry, or use another model")
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder / WEIGHTS}: no such file; copy it there")
    try:
        network, report = LightGlueForKeypointMatching.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="eager",
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, SafetensorError, StrictDataclassError) as error:
        raise InputError(
            f"{folder}: LightGlue cannot be loaded ({first_line(error)}); copy the folder again"
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(f"{folder / WEIGHTS}: has no tensor {missing[0]}; copy it again")
    broken = [name for name, value in network.state_dict().items() if not bool(value.float().isfinite().all())]
    if broken:
        raise InputError(f"{folder / WEIGHTS}: {broken[0]} holds values that are NaN or infinite; copy it again")
    return network.float().eval()
