"""The recipes of ``docs/supervise``: they run, they are short, and their loss reaches queries and keys."""

import runpy
from pathlib import Path

import pytest
from torch import nn

FOLDER = Path(__file__).parents[2] / "docs" / "supervise"
RECIPES = sorted(FOLDER.glob("*.py"))


def test_every_recipe_is_on_the_page():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert len(RECIPES) == 4
    for path in RECIPES:
        assert f"]({path.name})" in page


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_short_and_supervises_every_layer_it_names(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    made = runpy.run_path(str(path))
    assert made["loss"].isfinite()
    model: nn.Module = made["unet"] if "unet" in made else made["transformer"]
    names = made.get("layers") or [name for name, _ in model.named_modules() if name.endswith((".attn", ".attn1"))]
    assert names
    supervision = made["loss"] - made.get("noise_loss", made.get("flow_loss"))
    assert supervision > 0
    for name in names:
        for projection in ("to_q", "to_k"):
            assert model.get_submodule(f"{name}.{projection}").weight.grad.abs().max() > 0
