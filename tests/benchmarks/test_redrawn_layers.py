"""A redrawn checkpoint differs in the queries and keys of the named layers, and in nothing else."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from redrawn_layers import main

from siftvton.errors import InputError
from siftvton.sampling.loading import load

TOY = str(Path(__file__).parents[2] / "checkpoints" / "toy")


def test_queries_and_keys_of_the_named_layers_are_new(tmp_path: Path):
    main(TOY, str(tmp_path / "first"), [1, 4], 0)
    main(TOY, str(tmp_path / "second"), [1, 4], 0)
    whole, first, second = (load(folder) for folder in (TOY, tmp_path / "first", tmp_path / "second"))
    layers = whole.network().hooked_layers("all")
    before, after = whole.unet.state_dict(), first.unet.state_dict()
    changed = {key for key, value in before.items() if not torch.equal(after[key], value)}
    assert changed == {f"{layers[at]}.{part}.weight" for at in (0, 3) for part in ("to_q", "to_k")}
    assert all(torch.equal(second.unet.state_dict()[key], after[key]) for key in changed)


@pytest.mark.parametrize("layers", [[5], [1, 9]])
def test_a_layer_that_is_not_there_is_named(tmp_path: Path, layers: list[int]):
    with pytest.raises(InputError, match=rf"layer {layers[-1]}: .* has 4 hooked layers"):
        main(TOY, str(tmp_path / "output"), layers, 0)
    assert not (tmp_path / "output").exists()


def test_an_output_that_exists_is_kept(tmp_path: Path):
    with pytest.raises(InputError, match="already exists"):
        main(TOY, str(tmp_path), [1], 0)
    assert not any(tmp_path.iterdir())
