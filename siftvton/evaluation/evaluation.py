"""One evaluation: check every picture, compute each metric whose weights are available, and write the report."""

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from siftvton.data.layouts.base import Split
from siftvton.data.pairs import Pair
from siftvton.devices import device_of, errors_shared, on_main, process_state
from siftvton.errors import InputError, UsageError
from siftvton.evaluation import metrics, weights
from siftvton.evaluation.config import Evaluate
from siftvton.evaluation.features import (
    AUTOENCODER_WEIGHTS,
    AutoencoderFeatures,
    InceptionFeatures,
    load_autoencoder,
)
from siftvton.evaluation.pictures import PictureSet, photos_of, results_of, size_text
from siftvton.evaluation.report import METRICS, PUBLISHED, markdown
from siftvton.evaluation.scoring import Distance, Scores, score_pictures, score_sets
from siftvton.evaluation.shares import ALONE, Shares
from siftvton.files import sha256, write_json, write_text
from siftvton.settings import save_configuration
from siftvton.tables import csv_text
from siftvton.wording import counted

LIBRARIES = ("torch", "torchvision", "torchmetrics", "clean-fid", "opencv-python-headless", "pillow", "numpy")


def evaluate(config: Evaluate) -> str:
    """Score the configuration's folders of results and write the report to ``config.output``.

    Writes ``per_image_<name>.csv``, ``metrics.json``, ``table.md`` and ``config.yaml`` after everything is computed.
    Several processes share the pictures.

    Returns:
        The Markdown table; empty in all processes but the main one.

    Raises:
        InputError, UsageError: a folder, picture, weights file or key is missing or wrong; then nothing is written.
            Or a score is NaN or infinite; then the other scores are written.
    """
    state = process_state()
    with errors_shared():
        evaluation = Evaluation(config, Shares(state.process_index, state.num_processes))
    scores = evaluation.score()
    evaluation.drop_what_is_not_finite(scores)
    table = on_main(lambda: _written(evaluation, scores))
    return table if state.is_main_process else ""


def _written(evaluation: "Evaluation", scores: Mapping[str, Scores]) -> str:
    """Write the report and return its table; raises InputError if a score is NaN or infinite."""
    report = evaluation.report(scores)
    table = markdown(report)
    config = evaluation.config
    output = Path(config.output)
    for stale in output.glob("per_image_*.csv"):
        stale.unlink()
    for results in evaluation.sets:
        rows = evaluation.rows(results, scores[results.name])
        write_text(output / f"per_image_{results.name}.csv", csv_text(rows))
    write_json(output / "metrics.json", report)
    write_text(output / "table.md", table)
    save_configuration(config, output / "config.yaml")
    if evaluation.not_finite:
        raise InputError(f"{'; '.join(evaluation.not_finite)}; {output / 'table.md'} has the other scores")
    return table


class Evaluation:
    """The checked pictures of a configuration, and for each metric its weights or why it was not run."""

    def __init__(self, config: Evaluate, shares: Shares = ALONE) -> None:
        """Raises InputError or UsageError if a folder, a picture or a key is missing or wrong."""
        _check_names(config.predictions)
        if Path(config.output).is_file():
            raise UsageError(f"output={config.output} is not allowed: it is a file; use a folder")
        self.config = config
        self.shares = shares
        self.device = device_of(config.device)
        self.size = config.data.size
        split = config.data.open().split(config.data.split)
        self.pairs = split.pairs(config.setting)[: config.limit]
        self.sets = [
            results_of(name, place, split, config.setting, config.limit) for name, place in config.predictions.items()
        ]
        # The reference of a distance between sets does not depend on the number of results scored.
        shown = self.pairs if config.setting == "paired" else split.pairs(config.setting)
        self.photos = photos_of(split, shown)
        self.category = split.category
        self.groups = _groups(split, self.pairs, shown)
        self.weights: dict[str, dict[str, Any]] = {}  # metric -> file, SHA-256, whether it is the published one
        self.not_run: dict[str, str] = {}  # metric -> reason
        self.not_finite: list[str] = []  # one line for each score that is NaN or infinite

    def score(self) -> dict[str, Scores]:
        """Compute every metric whose weights are available.

        Returns:
            Name of a set of results -> its scores.

        Raises:
            InputError: a weights file is wrong, or no metric could be computed.
        """
        scores = self._paired() if self.config.setting == "paired" else self._unpaired()
        if not any(score.of_set for score in scores.values()):
            raise InputError("no metric could be computed: " + "; ".join(dict.fromkeys(self.not_run.values())))
        return scores

    def drop_what_is_not_finite(self, scores: Mapping[str, Scores]) -> None:
        """Remove every metric that has a NaN or infinite value, and note why."""
        for name, found in scores.items():
            every = {name: found, **{f"{name}, {group}": scores for group, scores in found.groups.items()}}
            for title, these in every.items():
                for key in [key for key in these.of_set if not _all_finite(these, key)]:
                    file = self.weights.get(key, {}).get("file", "the pictures")
                    self.not_finite.append(f"{METRICS[key].title} of {title} is NaN or infinite; check {file}")
                    self.not_run[key] = self.not_finite[-1]
                    for values in (these.of_set, these.intervals, these.of_pictures):
                        values.pop(key, None)

    def _paired(self) -> dict[str, Scores]:
        config = self.config
        lpips = None
        if min(self.size) < metrics.LPIPS_MINIMUM_SIZE:
            self.not_run["lpips"] = (
                f"AlexNet requires pictures of at least {metrics.LPIPS_MINIMUM_SIZE} pixels on each side; "
                f"these are compared at {size_text(self.size)}"
            )
        else:
            lpips = self._network(weights.ALEXNET, config.alexnet, weights.load_lpips, ["lpips"])
        return score_pictures(
            *(self.sets, self.photos, self.size, lpips, config.batch_size, config.workers, self.device),
            groups=self.groups,
            shares=self.shares,
        )

    def _unpaired(self) -> dict[str, Scores]:
        config = self.config
        scores = {results.name: Scores() for results in self.sets}
        load_inception = partial(weights.load_inception, allowed=config.inception_sha256)
        inception = self._network(weights.INCEPTION, config.inception, load_inception, ["fid", "kid"])
        kid = partial(metrics.kernel_distances, seed=config.seed)
        if inception is not None:
            features_of = InceptionFeatures(inception, config.batch_size, config.workers, self.device, self.shares)
            self._add(scores, features_of, {"fid": metrics.frechet_distance, "kid": kid})
        if config.autoencoder is not None:
            autoencoder = load_autoencoder(config.autoencoder, self.device)
            distances: dict[str, Distance] = {
                "autoencoder_frechet": metrics.frechet_distance,
                "autoencoder_kernel": kid,
            }
            self._record(Path(config.autoencoder) / AUTOENCODER_WEIGHTS, list(distances))
            encoded = AutoencoderFeatures(
                autoencoder, self.size, config.batch_size, config.workers, self.device, self.shares
            )
            self._add(scores, encoded, distances)
        return scores

    def _add(
        self,
        scores: Mapping[str, Scores],
        features_of: Callable[[PictureSet], np.ndarray],
        distances: Mapping[str, Distance],
    ) -> None:
        def finite_features(pictures: PictureSet) -> np.ndarray:
            features = features_of(pictures)
            if not np.isfinite(features).all():
                file = self.weights[next(iter(distances))]["file"]
                raise InputError(
                    f"{file}: the features that it computes of {pictures.name} are NaN or infinite; get the file again"
                )
            return features

        for name, found in score_sets(self.sets, self.photos, finite_features, distances, self.groups).items():
            scores[name].of_set.update(found.of_set)
            scores[name].intervals.update(found.intervals)
            for group, of_group in found.groups.items():
                scores[name].group(group).of_set.update(of_group.of_set)
                scores[name].group(group).intervals.update(of_group.intervals)

    def _network(
        self,
        file: weights.PublishedFile,
        given: str | None,
        load: Callable[[Path, torch.device], nn.Module],
        columns: list[str],
    ) -> nn.Module | None:
        """Load the network that ``columns`` need; if its weights are missing, note the reason and return None."""
        try:
            path = weights.locate(file, given)
        except weights.MissingWeightsError as error:
            titles = ", ".join(METRICS[key].title for key in columns)
            if self.shares.rank == 0:
                print(f"warning: {titles} not run: {error}", file=sys.stderr)
            self.not_run.update(dict.fromkeys(columns, str(error)))
            return None
        network = load(path, self.device)
        self._record(path, columns, weights.is_published(file, path))
        return network

    def _record(self, path: Path, columns: list[str], published: bool | None = None) -> None:
        entry = {"file": str(path), "sha256": sha256(path), "published": published}
        self.weights.update(dict.fromkeys(columns, entry))

    def report(self, scores: Mapping[str, Scores]) -> dict[str, Any]:
        """The content of ``metrics.json``: protocol, definition and weights of each metric, scores of each set."""
        config = self.config
        columns = [key for key in METRICS if key in self.not_run or any(key in s.of_set for s in scores.values())]
        return {
            "summary": self._summary(),
            "protocol": {
                "setting": config.setting,
                "split": config.data.split,
                "limit": config.limit,
                "results": len(self.pairs),
                "photos": len(self.photos.paths),
                "photo_size": list(self.photos.size),
                "comparison_size": list(self.size),
                "batch_size": config.batch_size,
                "seed": config.seed,
                "device": str(self.device),
                "versions": {library: version(library) for library in LIBRARIES},
            },
            "metrics": {
                key: {
                    "title": METRICS[key].title,
                    "better": METRICS[key].better,
                    "definition": METRICS[key].definition,
                    "weights": self.weights.get(key),
                    "not_run": self.not_run.get(key),
                }
                for key in columns
            },
            "published": PUBLISHED if config.published else {},
            "results": {
                results.name: {
                    "folder": str(results.folder),
                    "pictures": len(results.paths),
                    "size": list(results.size),
                    "scores": scores[results.name].of_set,
                    "intervals": scores[results.name].intervals,
                    **({"categories": self._categories(scores[results.name])} if self.groups else {}),
                }
                for results in self.sets
            },
        }

    def _categories(self, scores: Scores) -> dict[str, dict[str, Any]]:
        """The scores of each category, with the numbers of results and photos that were compared."""
        return {
            name: {
                "pictures": len(own),
                "photos": len(compared),
                "scores": scores.group(name).of_set,
                "intervals": scores.group(name).intervals,
            }
            for name, (own, compared) in self.groups.items()
        }

    def rows(self, results: PictureSet, scores: Scores) -> list[dict[str, object]]:
        """The rows of a set's CSV file; only the paired setting scores each picture by itself."""
        return [
            {
                "person": pair.person,
                "garment": pair.garment,
                **({"category": self.category(pair.person)} if self.groups else {}),
                "result": path.name,
                **{key: column[place] for key, column in scores.of_pictures.items()},
            }
            for place, (pair, path) in enumerate(zip(self.pairs, results.paths, strict=True))
        ]

    def _summary(self) -> str:
        config, photos = self.config, f"of {size_text(self.photos.size)} pixels (height × width)"
        if config.setting == "paired":
            return (
                f"Paired setting, {config.data.split} split. Each result is compared with the person's photo {photos}; "
                f"both are resized to {size_text(self.size)}. FID and KID belong to the unpaired setting."
            )
        return (
            f"Unpaired setting, {config.data.split} split. The set of results is compared with the set of "
            f"{counted(len(self.photos.paths), 'photo')} {photos}. A Fréchet distance grows when there are fewer "
            "pictures: compare only sets of the same size. SSIM and LPIPS belong to the paired setting."
        )


def _groups(split: Split, pairs: Sequence[Pair], shown: Sequence[Pair]) -> dict[str, tuple[list[int], list[int]]]:
    """Return the places of the results and of the photos of each category; empty if all have the same category.

    Args:
        pairs: the pairs of the results.
        shown: the pairs of the photos; a person in several pairs counts once.
    """
    of_results = [split.category(pair.person) for pair in pairs]
    of_photos = [split.category(person) for person in dict.fromkeys(pair.person for pair in shown)]
    if len(set(of_photos)) < 2:
        return {}

    def places(values: Sequence[str], category: str) -> list[int]:
        return [place for place, value in enumerate(values) if value == category]

    return {each: (places(of_results, each), places(of_photos, each)) for each in dict.fromkeys(of_results)}


def _all_finite(scores: Scores, key: str) -> bool:
    values = [scores.of_set[key], *scores.intervals.get(key, ()), *scores.of_pictures.get(key, ())]
    return all(map(math.isfinite, values))


def _check_names(predictions: Mapping[str, str]) -> None:
    if not predictions:
        raise UsageError("predictions: no results are given; use predictions.<name>=<folder of results>")
    for name in predictions:
        if not re.fullmatch(r"[\w.-]+", name):
            raise UsageError(f"predictions.{name} is not allowed; use a name of letters, digits, '_', '-' and '.'")
