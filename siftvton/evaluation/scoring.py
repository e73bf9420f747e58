"""Scores of sets of results: picture by picture if each has its own photo (paired), else between whole sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import StackDataset

from siftvton.errors import InputError
from siftvton.evaluation import metrics
from siftvton.evaluation.intervals import bootstrap
from siftvton.evaluation.pictures import Pictures, PictureSet
from siftvton.evaluation.shares import ALONE, Shares

# A distance between two sets of features: one number, or an array with one number for each subset.
Distance = Callable[[np.ndarray, np.ndarray], float | np.ndarray]
Groups = Mapping[str, tuple[list[int], list[int]]]  # name -> the places of its results and of its photos


@dataclass
class Scores:
    """The scores of one set of results; each dictionary goes by the metric's key.

    Attributes:
        of_set: the score of the set.
        intervals: its 95 % bootstrap interval over pictures, or over KID's subsets.
        of_pictures: one score for each result, in their order, if the set's score is their mean.
        groups: the scores of groups of the set, by their names; they have neither ``of_pictures`` nor groups.
    """

    of_set: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    of_pictures: dict[str, list[float]] = field(default_factory=dict)
    groups: dict[str, Scores] = field(default_factory=dict)

    def group(self, name: str) -> Scores:
        """Return the scores of a group, which are empty at first."""
        return self.groups.setdefault(name, Scores())

    def add(self, key: str, values: Sequence[float]) -> None:
        """Add a metric: one value, or several values, whose mean becomes the set's score."""
        self.of_set[key] = float(np.mean(values))
        if len(values) > 1:
            self.intervals[key] = bootstrap(values)


def score_pictures(
    sets: Sequence[PictureSet],
    photos: PictureSet,
    size: tuple[int, int],
    lpips: nn.Module | None,
    batch_size: int,
    workers: int,
    device: torch.device,
    groups: Groups | None = None,
    shares: Shares = ALONE,
) -> dict[str, Scores]:
    """Compare each result with the photo at the same position: SSIM, and LPIPS if its network is given.

    Args:
        size: (height, width) to which both are resized, pixels.
        lpips: LPIPS's network; None: only SSIM.
        groups: the groups whose means are also computed.
        shares: how the pictures are divided among processes.

    Returns:
        Name of a set -> its scores, which are means over its pictures.
    """

    def of_batch(batch: Sequence[Tensor]) -> dict[str, list[float]]:
        result, photo = (pictures.to(device) for pictures in batch)  # ............ (B, 3, height, width) each
        columns = {"ssim": metrics.structural_similarity(result, photo).tolist()}
        if lpips is not None:
            columns["lpips"] = metrics.perceptual_distance(result, photo, lpips).tolist()
        return columns

    scores = {}
    for results in sets:
        assert len(results.paths) == len(photos.paths)
        pairs = StackDataset(Pictures(results.paths, size), Pictures(photos.paths, size))
        found = shares.of_batches(of_batch, pairs, batch_size, workers, f"scoring {results.name}")
        columns = {key: [value for batch in found for value in batch[key]] for key in found[0]}
        scores[results.name] = Scores(of_pictures=columns)
        for key, column in columns.items():
            scores[results.name].add(key, column)
            for name, (own, _) in (groups or {}).items():
                scores[results.name].group(name).add(key, [column[place] for place in own])
    return scores


def score_sets(
    sets: Sequence[PictureSet],
    photos: PictureSet,
    features_of: Callable[[PictureSet], np.ndarray],
    distances: Mapping[str, Distance],
    groups: Groups | None = None,
) -> dict[str, Scores]:
    """Compute the distances between the features of each set and those of the photos.

    Args:
        groups: the groups that are also compared by themselves, results with photos of the same group; a group with
            fewer than two results or photos gets no score.

    Raises:
        InputError: a set of results, or the set of photos, has fewer than two pictures.
    """
    for pictures in (photos, *sets):
        if len(pictures.paths) < 2:
            raise InputError(f"{pictures.folder}: has one picture only; a distance between sets requires at least 2")
    reference = features_of(photos)
    scores = {results.name: Scores() for results in sets}
    for results in sets:
        features = features_of(results)
        for key, distance in distances.items():
            scores[results.name].add(key, np.atleast_1d(distance(features, reference)).tolist())
            for name, (own, compared) in (groups or {}).items():
                if min(len(own), len(compared)) >= 2:
                    values = np.atleast_1d(distance(features[own], reference[compared])).tolist()
                    scores[results.name].group(name).add(key, values)
    return scores
