"""Validation: sample, score and show a few fixed held-out pairs, in the unpaired and in the paired setting.

Every random draw is keyed by seed and pair. Therefore the scores of a run differ only because of the weights, and
validation does not change the draws of training.
"""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from diffusers import PNDMScheduler

from siftvton.correspondence import read_matches
from siftvton.data.dataset import TryOnDataset, as_picture
from siftvton.data.layouts.base import IMAGE
from siftvton.data.match_folder import matches_path
from siftvton.data.pairs import Pair
from siftvton.devices import errors_shared, on_main
from siftvton.drawing import SHEET_ROWS, contact_sheet
from siftvton.evaluation import metrics, weights
from siftvton.evaluation.attention_error import MEASURES, always, measure
from siftvton.evaluation.features import AutoencoderFeatures, InceptionFeatures
from siftvton.evaluation.pictures import PictureSet
from siftvton.evaluation.scoring import Distance, score_pictures, score_sets
from siftvton.files import read_image, write_image
from siftvton.model.inputs import Autoencoder
from siftvton.model.network import TryOnNetwork
from siftvton.pool import one_ahead
from siftvton.sampling.batch import generate
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.training.config import Train
from siftvton.training.guards import StopRequest, writing

GUIDANCE = 1.5  # the paper's §4.1
SETTINGS = ("unpaired", "paired")
TIMESTEPS = (50, 150, 250, 350, 450)  # at which the attention error is measured


def pipeline_of(network: TryOnNetwork, vae: Autoencoder, scheduler: PNDMScheduler) -> TryOnPipeline:
    """A pipeline of the parts under training; it shares them and does not copy."""
    parts: dict[str, Any] = dict(network.named_children())
    pipeline = TryOnPipeline(vae=vae, **parts, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class Validation:
    """The validation of a run; ``pairs`` is empty if the run has none."""

    def __init__(self, config: Train, accelerator: Accelerator) -> None:
        """
        Raises:
            InputError: a picture is missing, or a named network for scoring cannot be read.
        """
        data, settings = config.data, config.train
        self.config, self.accelerator = config, accelerator
        self.stop = StopRequest()  # checked between batches
        self.split = data.open().split("validation")
        listed = self.split.listed()
        self.pairs = listed[: settings.validation_pictures] if settings.validate_every else []
        if len(self.pairs) == 1:
            accelerator.print(
                f"note: one validation pair gives no unpaired score, so {Path(config.output) / 'best'} is not written; "
                "set data.validation_pairs and train.validation_pictures to 2 or more"
            )
        self._dataset("unpaired").require_files()
        self._dataset("paired").require_files()
        self.inception = self.lpips = None
        if settings.inception:
            self.inception = weights.load_inception(
                weights.locate(weights.INCEPTION, settings.inception),
                accelerator.device,
                allowed=settings.inception_sha256,
            )
        if settings.alexnet:
            self.lpips = weights.load_lpips(weights.locate(weights.ALEXNET, settings.alexnet), accelerator.device)

    @torch.no_grad()
    def run(self, pipeline: TryOnPipeline, sheet: Path) -> dict[str, float] | None:
        """Sample, score and write the sheet; each process takes its share of the pairs.

        Returns:
            The scores. ``unpaired`` decides which weights are the best: it is FID or, without Inception, the Fréchet
            distance on the autoencoder's features. None if a process was asked to stop meanwhile.

        Raises:
            InputError: a file of the validation pairs cannot be read, or an output cannot be written.
        """
        pictures = sheet.with_name(".pictures")
        errors: list[list[list[float]]] = []
        with errors_shared():
            for setting in SETTINGS:
                self._sample(pipeline, setting, pictures / setting)
            if not self.stop.made:
                errors = self._attention(pipeline)
        everyone = np.array(gather_object(errors))
        if any(gather_object([self.stop.made])):
            return None
        return on_main(lambda: self._scored(pipeline, pictures, everyone, sheet))

    def _scored(self, pipeline: TryOnPipeline, pictures: Path, errors: np.ndarray, sheet: Path) -> dict[str, float]:
        """Score the pictures and write the sheet.

        Args:
            errors: (images, layers, 5) measures of the attention error; empty without matches.
        """
        scores = self._scores(pipeline, pictures)
        if len(errors):
            means = dict(zip(MEASURES, errors.mean(axis=(0, 1)).tolist(), strict=True))
            scores |= {name: means[name] for name in ("attention_error_px", "attention_pck")}
        with writing(sheet):
            write_image(sheet, self._sheet(pictures / "unpaired"))
            shutil.rmtree(pictures)
        return scores

    def _dataset(self, setting: str) -> TryOnDataset:
        data = self.config.data
        return TryOnDataset(self.split, self.split.in_setting(self.pairs, setting), data.height, data.width)

    def _own(self, count: int) -> list[range]:
        """This process's share of ``count`` pairs, in micro-batches."""
        size, rank, processes = (
            self.config.train.batch_size,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        )
        share = range(rank, count, processes)
        return [share[first : first + size] for first in range(0, len(share), size)]

    def _sample(self, pipeline: TryOnPipeline, setting: str, folder: Path) -> None:
        settings = self.config.train
        dataset = self._dataset(setting)
        for batch in one_ahead(dataset.batch, self._own(len(dataset))):
            if self.stop.made:
                return
            with self.accelerator.autocast():
                results = generate(pipeline, batch, settings.seed, settings.validation_steps, GUIDANCE)
            for pair, result in zip(batch.pair, results, strict=True):
                with writing(folder):
                    write_image(folder / f"{pair.result_id}.png", result)

    def _scores(self, pipeline: TryOnPipeline, pictures: Path) -> dict[str, float]:
        settings, device = self.config.train, self.accelerator.device
        size = self.config.data.size
        photos = self._set("photos", [self.split.require(IMAGE, pair.person) for pair in self.pairs])
        unpaired, paired = (
            self._set(
                name, [pictures / name / f"{pair.result_id}.png" for pair in self.split.in_setting(self.pairs, name)]
            )
            for name in SETTINGS
        )
        scores: dict[str, float] = {}
        if len(self.pairs) > 1:  # a distance between sets requires two pictures
            encoded = AutoencoderFeatures(pipeline.vae, size, settings.batch_size, 0, device)
            latent: dict[str, Distance] = {"autoencoder_frechet": metrics.frechet_distance}
            scores |= score_sets([unpaired], photos, encoded, latent)["unpaired"].of_set
            if self.inception is not None:
                features_of = InceptionFeatures(self.inception, settings.batch_size, 0, device)
                kid = partial(metrics.kernel_distances, seed=settings.seed)
                both: dict[str, Distance] = {"fid": metrics.frechet_distance, "kid": kid}
                scores |= score_sets([unpaired], photos, features_of, both)["unpaired"].of_set
            scores["unpaired"] = scores.get("fid", scores["autoencoder_frechet"])
        return (
            scores | score_pictures([paired], photos, size, self.lpips, settings.batch_size, 0, device)["paired"].of_set
        )

    def _set(self, name: str, paths: Sequence[Path]) -> PictureSet:
        return PictureSet(name, paths[0].parent, list(paths), read_image(paths[0]).shape[:2])

    def _attention(self, pipeline: TryOnPipeline) -> list[list[list[float]]]:
        """The attention error on this process's validation pairs that have matches: (images, layers, 5)."""
        data = self.config.data
        folder = Path(data.matches) if data.matches else self.split.matches
        paths = {pair: matches_path(folder, pair.person) for pair in self.split.in_setting(self.pairs, "paired")}
        matches = {pair: read_matches(path, data.frame) for pair, path in paths.items() if path.is_file()}
        known = [pair for pair, found in matches.items() if len(found)]
        layers = pipeline.network().hooked_layers(self.config.supervision.layers)

        def read(pair: Pair) -> Any:
            return always(matches[pair])

        dataset = TryOnDataset(self.split, known, data.height, data.width)
        own = self._own(len(known))
        if not own:
            return []
        with self.accelerator.autocast():
            measured, _ = measure(pipeline, dataset, read, layers, TIMESTEPS, self.config.train.seed, own)
        return measured.transpose(0, 1).tolist()

    def _sheet(self, folder: Path) -> np.ndarray:
        dataset = self._dataset("unpaired")
        rows, captions = [], []
        for index, pair in enumerate(dataset.pairs[:SHEET_ROWS]):
            item = dataset[index]
            rows.append(
                [as_picture(item.image), as_picture(item.garment), read_image(folder / f"{pair.result_id}.png")]
            )
            captions.append([f"person {pair.person_id}", f"garment {pair.garment_id}", "result"])
        return contact_sheet(rows, captions)
