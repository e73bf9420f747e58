"""The best results of an autoencoder are the exact renderings, in each layout of the toy world."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from toy_ceiling import main

from siftvton.commands.infer import Infer
from siftvton.data.config import HeldOutData
from siftvton.data.dataset import resized
from siftvton.files import read_image
from siftvton.toy.world.write import write_world
from siftvton.toy.world.write_dresscode import write_dresscode
from siftvton.toy.worlds import number_of, world_of

TOY = Path(__file__).parents[2] / "checkpoints" / "toy"
CLOSE = 5.0  # mean grey levels; the persons' own photos, in other garments, differ by more


@pytest.mark.parametrize("write", [write_world, write_dresscode])
def test_each_result_is_the_rendering_up_to_the_autoencoder(tmp_path: Path, write):
    root, output = tmp_path / "world", tmp_path / "out"
    write(root, train_pairs=1, test_pairs=6, height=256, width=192, workers=1)
    data = HeldOutData(root=str(root), height=128, width=96)
    main(Infer(data=data, checkpoint=str(TOY), output=str(output)))
    split = data.open().split("test")
    world, pairs = world_of(split), split.pairs("unpaired")
    assert {path.stem for path in output.iterdir()} == {pair.result_id for pair in pairs}
    for pair in pairs:
        truth = world.rendering(number_of(pair.person_id), world.garment(number_of(pair.garment_id))).photo
        result = read_image(output / f"{pair.result_id}.png")
        assert np.abs(result - resized(truth, data.size).astype(float)).mean() < CLOSE
