"""A data folder with six small pairs, and a training configuration that takes about a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState

from siftvton.correspondence import Correspondences, write_matches
from siftvton.data.config import TrainData
from siftvton.data.layouts.base import AGNOSTIC, AGNOSTIC_MASK, DENSEPOSE, GARMENT, IMAGE, MATCHES, WORN_MASK
from siftvton.data.match_folder import matches_path
from siftvton.draws import numpy_generator
from siftvton.files import write_image
from siftvton.model import build
from siftvton.model.config import ModelConfig
from siftvton.training.config import OptimisationConfig, SupervisionConfig, Train

HEIGHT, WIDTH = 64, 48


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    train = root / "train"
    names = [f"{n:05d}_00.jpg" for n in range(6)]
    for name in names:
        draw = numpy_generator(0, name)
        stem = Path(name).stem
        photo, garment = (draw.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(2))
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[16:48, 12:36] = 255
        agnostic = np.where(mask[..., None] > 0, 128, photo).astype(np.uint8)
        for kind, picture in (
            (IMAGE, photo),
            (AGNOSTIC, agnostic),
            (DENSEPOSE, np.zeros_like(photo)),
            (GARMENT, garment),
            (WORN_MASK, mask),
        ):
            write_image(train / kind / name, picture)
        write_image(train / AGNOSTIC_MASK / f"{stem}_mask.png", mask)
        points = draw.random((2, 12, 2)) * np.array([WIDTH - 1, HEIGHT - 1])
        matches = Correspondences(points[0], points[1], (HEIGHT, WIDTH))
        write_matches(matches_path(train / MATCHES, name), matches)
    (root / "train_pairs.txt").write_text("".join(f"{name} {name}\n" for name in names))
    return root


@pytest.fixture(scope="session")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("autoencoder") / "vae"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        build.autoencoder([8, 16, 16], blocks_per_level=1, norm_groups=8).save_pretrained(folder)
    return folder


@pytest.fixture
def configuration(root: Path, autoencoder: Path, sizes: ModelConfig, tmp_path: Path) -> Callable[..., Train]:
    """``configuration(output, **train settings)``, on 4 training and 2 validation pairs."""

    def build_configuration(output: str = "run", supervision: dict[str, Any] | None = None, **train: Any) -> Train:
        settings = {
            "updates": 4,
            "batch_size": 2,
            "accumulation": 1,
            "warmup_updates": 2,
            "trainable": "all",
            "mixed_precision": "no",
            "workers": 0,
            "checkpoint_every": 2,
            "validate_every": 0,
            "validation_pictures": 2,
            "validation_steps": 2,
            "learning_rate": 1e-3,
            "cpu": True,
        }
        return Train(
            data=TrainData(
                root=str(root), validation_pairs=2, height=HEIGHT, width=WIDTH, matches_frame=[HEIGHT, WIDTH]
            ),
            model=ModelConfig(**{**vars(sizes), "autoencoder": str(autoencoder)}),
            supervision=SupervisionConfig(**{"weight": 0.05, "max_timestep": 999, **(supervision or {})}),
            train=OptimisationConfig(**{**settings, **train}),
            output=str(tmp_path / output),
        )

    return build_configuration


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Resets accelerate's global state, because each test stands for a new process."""
    yield
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
