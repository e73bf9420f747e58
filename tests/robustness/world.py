"""Small, undamaged inputs of every kind, made once by the scripts themselves; the cases break copies of them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path

import numpy as np
import torch
import yaml
from robustness.harness import Finished, run_script, tree
from stand_ins import alexnet_state, save_inception

from siftvton.files import write_image, write_json, write_text

CHECKPOINT = Path(__file__).resolve().parents[2] / "checkpoints" / "toy"
HEIGHT, WIDTH = 128, 96
TRAIN_PAIRS, TEST_PAIRS = 3, 2
ARMS = {"none": "supervision.weight=0", "sift": "data.matches={matches}/published"}
REPORT_PICTURES = (
    "matches/previews.jpg",
    "train/validation/update-0000002.png",
    "against_truth/toy.png",
    "attention/attention_maps.png",
    "scores_unpaired/comparison.png",
)
REPORT_TABLES = (
    "matches/matches.md",
    "against_truth/toy.md",
    "attention/attention_error.md",
    "attention_tuned/attention_error.md",
    "scores_unpaired/table.md",
    "scores_paired/table.md",
)
REPORT_NUMBERS = {
    "against_truth/toy.json": {
        "results": 2,
        **{
            measure: {"value": 0.5, "interval": [0.1, 0.9], "cases": 2}
            for measure in ("print_closest_by_error", "colour_right", "unchanged")
        },
    },
    "attention/attention_error.json": {"images": 2, "attention_error_px": {"value": 9.0, "interval": [8.0, 10.0]}},
    "attention_tuned/attention_error.json": {
        "images": 2,
        "attention_error_px": {"value": 8.0, "interval": [7.0, 9.0]},
    },
    "scores_unpaired/metrics.json": {
        "results": {name: {"pictures": 2, "scores": {"autoencoder_frechet": 3.0}} for name in ("shipped", "tuned")}
    },
    "matches/00000_00_sift_matches.json": [[[1.0, 2.0], [3.0, 4.0]]],
}
# A network with about a thousandth of the full size, for runs that do not depend on the weights.
TINY = {
    "pretrained": None,
    "channels": [16, 32, 32],
    "heads": 2,
    "norm_groups": 8,
    "context_width": 16,
    "context_blocks": 1,
    "image_width": 16,
    "image_layers": 1,
    "image_heads": 2,
    "image_patch": 56,
}


def _part(make: Callable[[World], Path]) -> cached_property[Path]:
    """A part of the world, made at its first use."""

    @wraps(make)
    def made(world: World) -> Path:
        path = make(world)
        world.note()
        return path

    return cached_property(made)


@dataclass(frozen=True)
class Undisturbed:
    """An uninterrupted run: its output folder, and the seconds until it first wrote a file and until it ended."""

    output: Path
    first: float
    end: float


class World:
    """Paths of undamaged inputs. ``known`` lists the files made so far, which no case may change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known = tree(folder)
        self.undisturbed: dict[str, Undisturbed] = {}  # by name, see ``robustness.faults``

    @_part
    def data(self) -> Path:
        """A toy world with its exact maps."""
        folder = self.folder / "data"
        keys = (f"train_pairs={TRAIN_PAIRS}", f"test_pairs={TEST_PAIRS}", "exact_map=true")
        self._make("make_toy_data", f"output={folder}", f"height={HEIGHT}", f"width={WIDTH}", "workers=1", *keys)
        return folder

    @_part
    def model(self) -> Path:
        return _copied(CHECKPOINT, self.folder / "model")

    @_part
    def settings(self) -> Path:
        """A configuration file with the keys of all scripts, set to quick values."""
        content = {
            "data": {
                "root": str(self.data),
                "height": HEIGHT,
                "width": WIDTH,
                "matches_frame": [HEIGHT, WIDTH],
                "validation_pairs": 1,
                "augment": False,
            },
            "checkpoint": str(self.model),
            "format": "png",
            "steps": 1,
            "batch_size": 1,
            "workers": 0,
            "preview": 0,
            "timesteps": [50],
            "model": {**TINY, "autoencoder": str(self.model / "vae")},
            "train": {
                "updates": 2,
                "batch_size": 1,
                "accumulation": 1,
                "warmup_updates": 1,
                "trainable": "all",
                "mixed_precision": "no",
                "workers": 0,
                "checkpoint_every": 1,
                "keep_checkpoints": 2,
                "validate_every": 0,
                "validation_pictures": 1,
                "validation_steps": 1,
                "learning_rate": 1e-3,
                "cpu": True,
            },
            "updates": 1,
            "arms": ARMS,
            "reference": "none",
            "seeds": [0, 1],
        }
        path = self.folder / "settings.yaml"
        write_text(path, yaml.safe_dump(content))
        return path

    @_part
    def matches(self) -> Path:
        folder = self.folder / "matches"
        self._make("preprocess_sift", f"output={folder}", "workers=1")
        return folder

    @_part
    def results(self) -> Path:
        """The results of infer.py for the test pairs."""
        folder = self.folder / "results"
        self._make("infer", f"output={folder}")
        return folder

    @_part
    def run(self) -> Path:
        """A training run after two updates, with a checkpoint of each."""
        folder = self.folder / "run"
        self._make("train", f"output={folder}", f"data.matches={self.matches}")
        return folder

    @_part
    def longer_run(self) -> Path:
        """The same run, continued for a third update."""
        folder = _copied(self.run, self.folder / "longer run")
        self._make("train", f"output={folder}", f"data.matches={self.matches}", "train.updates=3")
        return folder

    @_part
    def inception(self) -> Path:
        return save_inception(self.folder / "inception.pt")

    @_part
    def alexnet(self) -> Path:
        path = self.folder / "alexnet.pth"
        torch.save(alexnet_state(), path)
        return path

    @_part
    def measures(self) -> Path:
        """The measures of an experiment with two arms and two seeds."""
        folder = self.folder / "measures"
        for place, (arm, keys) in enumerate(ARMS.items()):
            for seed in (0, 1):
                images = {f"{number:05d}_00": 0.1 * number + 0.01 * seed + 0.05 * place for number in range(4)}
                entry = {"arm": arm, "seed": seed, "keys": keys, "split": "test"}
                measures = {"print_error_unpaired": float(np.mean(list(images.values()))), "ssim_paired": 0.9}
                content = entry | {"measures": measures, "per_image": {"print_error_unpaired": images}}
                write_json(folder / f"{arm}-seed-{seed}.json", content)
        return folder

    @_part
    def report(self) -> Path:
        """A small version of the files that `make demo` writes."""
        folder = self.folder / "report"
        for name in REPORT_PICTURES:
            write_image(folder / name, np.full((8, 8, 3), 90, np.uint8))
        for name in REPORT_TABLES:
            write_text(folder / name, "| a | b |\n")
        for name, content in REPORT_NUMBERS.items():
            write_json(folder / name, content)
        lines = [json.dumps({"update": n, "noise": 1 / n, "sift": 0.5 * n}) for n in (1, 2)]
        write_text(folder / "train" / "metrics.jsonl", "\n".join(lines) + "\n")
        return folder

    def reference(self, name: str, script: str, *keys: str) -> Path:
        """The output folder of a script on undamaged inputs, made once under this name."""
        folder = self.folder / "references" / name
        if not folder.exists():
            self._make(script, f"output={folder}", *keys)
            self.note()
        return folder

    def note(self) -> None:
        """Record the present files as made."""
        self.known = tree(self.folder)

    def _make(self, script: str, *keys: str) -> None:
        settings = [] if script == "make_toy_data" else ["--config", str(self.settings)]
        succeeded(run_script(script, *settings, *keys))


def succeeded(finished: Finished) -> Finished:
    """Run a script and require exit code 0, because undamaged inputs must be read."""
    assert finished.code == 0, f"{finished.script}: {finished.code} {finished.raised} {finished.err}"
    return finished


@contextmanager
def made_world() -> Iterator[World]:
    """A world in a temporary folder that other users can enter."""
    folder = Path(tempfile.mkdtemp(prefix="world-"))
    folder.chmod(0o755)
    try:
        yield World(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target
