"""Each copy of a checkpoint lacks what one hooked layer reads from the garment, and nothing else."""

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from silenced_layers import main

from siftvton.commands.infer import Infer
from siftvton.sampling.loading import load

TOY = Path(__file__).parents[2] / "checkpoints" / "toy"


def test_a_copy_differs_in_one_layer_alone(tmp_path: Path):
    main(Infer(checkpoint=str(TOY), output=str(tmp_path)))
    whole = load(TOY)
    layers = whole.network().hooked_layers("all")
    assert len(layers) == 4
    for number, name in enumerate(layers, 1):
        copy = load(tmp_path / str(number)).unet.state_dict()
        changed = {key for key, value in whole.unet.state_dict().items() if not torch.equal(copy[key], value)}
        assert changed == {f"{name}.to_out.0.weight", f"{name}.to_out.0.bias"}
        assert not any(copy[key].any() for key in changed)
