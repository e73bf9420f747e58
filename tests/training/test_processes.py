"""Several processes: an error in one ends all of them, and none waits for another that has ended."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from runs import metrics, run

from siftvton.data.layouts.base import IMAGE
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.settings import save_configuration
from siftvton.training import validation
from siftvton.training.validation import Validation

PROGRAM = """
import os, sys
from pathlib import Path
import torch
from siftvton import cli
from siftvton.training.config import Train
from siftvton.errors import InputError
from siftvton.supervision.losses import noise_error
from siftvton.training import identity, step
from siftvton.training.loop import train

rank, base = int(os.environ["RANK"]), Path(sys.argv[1])
identity.WAIT = 1.0

def attempt(name, configuration, **settings):
    config = cli.load(Train, base / f"{configuration}.yaml", [f"{key}={value}" for key, value in settings.items()])
    try:
        train(config)
        said = "done"
    except InputError as error:
        said = str(error).strip().rpartition("Error: ")[2]
    with open(base / f"said-{rank}.txt", "a") as file:
        file.write(f"{name}: {said}\\n")

def broken_on_the_other(prediction, target):
    return noise_error(prediction, target) * (torch.nan if rank == 1 else 1)

step.noise_error = broken_on_the_other
attempt("not finite", "plain", output=base / "a")
step.noise_error = noise_error
attempt("broken picture", "broken", output=base / "b")
attempt("no shared folder", "plain", output=base / f"c{rank}")
attempt("other rate", "plain", **{"output": base / "run", "train.learning_rate": 1})
attempt("damaged", "plain", output=base / "run")  # last, since it ends the process group
"""


def test_an_error_in_one_process_is_the_same_error_in_all(configuration, root: Path, tmp_path: Path):
    config = configuration(updates=2, batch_size=1, accumulation=2, cpu=False, checkpoint_every=1)
    save_configuration(config, tmp_path / "plain.yaml")
    alone = run(configuration(updates=2, batch_size=1, accumulation=4, checkpoint_every=1))
    (alone / "checkpoints" / "update-0000002" / "optimizer.bin").write_bytes(b"")
    images = tmp_path / "data" / "train" / IMAGE
    images.mkdir(parents=True)
    for path in (root / "train").iterdir():
        if path.name != IMAGE:
            (images.parent / path.name).symlink_to(path)
    (tmp_path / "data" / "train_pairs.txt").symlink_to(root / "train_pairs.txt")
    person = VitonHD(root, 2, 0).split("train").listed()[0].person
    for path in (root / "train" / IMAGE).iterdir():
        (images / path.name).write_bytes(path.read_bytes()[: 100 if path.name == person else None])
    config.data.root = str(tmp_path / "data")
    save_configuration(config, tmp_path / "broken.yaml")
    (tmp_path / "program.py").write_text(PROGRAM)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launch, tmp_path / "program.py", tmp_path],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said = [(tmp_path / f"said-{rank}.txt").read_text().splitlines() for rank in (0, 1)]
    assert said[0] == said[1]
    divergence, picture, shared, *others = said[0]
    assert divergence.startswith("not finite: update 1: loss is nan, noise is nan")
    assert divergence.partition("its images: ")[2].partition(";")[0].count(",") == 3  # of both processes
    assert f"{person}: cannot be decoded" in picture
    assert "process 1 on" in shared
    assert "use an output folder that all machines share" in shared
    assert others[0].startswith(f"other rate: {alone} holds a run with another configuration (train.learning_rate")
    assert others[1] == "damaged: done"
    assert [entry["update"] for entry in metrics(alone)] == [1, 2]
    assert "update-0000002: cannot be resumed (optimizer.bin has changed since it was written)" in done.stdout


def test_each_process_validates_its_own_share(configuration, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    sampled: list[list[str]] = []

    def recorded(pipeline, batch, *given) -> list:
        sampled[-1] += [pair.result_id for pair in batch.pair]
        return [np.zeros((8, 8, 3), np.uint8)] * len(batch)

    monkeypatch.setattr(validation, "generate", recorded)
    config = configuration(validate_every=1, batch_size=2, validation_pictures=3)
    config.data.validation_pairs = 3
    for rank in (0, 1):
        sampled.append([])
        accelerator = SimpleNamespace(process_index=rank, num_processes=2, autocast=torch.no_grad)
        Validation(config, accelerator)._sample(None, "paired", tmp_path)
    assert [len(share) for share in sampled] == [2, 1]
    assert len(set(sampled[0] + sampled[1])) == 3
