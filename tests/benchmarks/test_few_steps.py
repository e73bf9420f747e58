"""The comparison of samplers, on two pairs of the toy world."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import few_steps

from siftvton.files import read_image
from siftvton.sampling.loading import save
from siftvton.toy.world.write import WORLD_FILE, write_world

SIZE = (64, 48)


@pytest.fixture
def arguments(pipeline, tmp_path: Path) -> list[str]:
    write_world(tmp_path / "world", train_pairs=1, test_pairs=2, height=SIZE[0], width=SIZE[1], workers=1)
    save(pipeline, tmp_path / "model")
    keys = {
        "data.root": tmp_path / "world",
        "data.height": SIZE[0],
        "data.width": SIZE[1],
        "checkpoint": tmp_path / "model",
        "output": tmp_path / "out",
        "execution.device": "cpu",
    }
    return [f"{key}={value}" for key, value in keys.items()]


def rows_of(folder: Path) -> dict[tuple[str, int], dict]:
    found = json.loads((folder / "few_steps.json").read_text())
    assert found["pairs"] == 2
    return {(row["sampler"], row["steps"]): row for row in found["rows"]}


def test_distances_are_to_plms_and_the_toy_measures_to_the_truth(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(few_steps, "FULL", 12)
    few_steps.main([*arguments, "--samplers", few_steps.PLMS, few_steps.UNIPC, "nobody", "--steps", "12", "2"])
    rows = rows_of(tmp_path / "out")
    reference, same = rows["PLMS, the reference", 12], rows["PLMS", 12]
    assert (reference["rmse"], reference["ssim"]) == (same["rmse"], same["ssim"]) == (0, 1)
    assert reference["predictions"] == 13
    assert rows["UniPC", 2]["predictions"] == 2
    assert rows["UniPC", 2]["rmse"] > rows["UniPC", 12]["rmse"] > 0
    assert rows["PLMS, another seed", 12]["rmse"] > 0
    assert all(row["colour_distance"] > 0 for row in rows.values() if "error" not in row)
    assert "scheduler=nobody is not allowed" in rows["nobody", 2]["error"]
    assert len((tmp_path / "out" / "few_steps.md").read_text().splitlines()) == 2 + len(rows)
    sheet = read_image(tmp_path / "out" / "steps-2.png")
    assert sheet.shape[1] > 4 * 256 * SIZE[1] / SIZE[0]  # photo, garment, reference and two samplers


def test_other_data_have_no_toy_measures(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(few_steps, "FULL", 10)
    (tmp_path / "world" / WORLD_FILE).unlink()
    few_steps.main([*arguments, "--samplers", few_steps.UNIPC, "--steps", "2"])
    row = rows_of(tmp_path / "out")["UniPC", 2]
    assert row["rmse"] > 0
    assert not set(few_steps.TOY) & set(row)
    assert "print" not in (tmp_path / "out" / "few_steps.md").read_text()


def test_the_distance_is_measured_where_the_network_paints():
    reference = np.zeros((32, 32, 3), np.uint8)
    picture, painted = reference.copy(), np.zeros((32, 32), bool)
    painted[8:24, 8:24] = True
    picture[~painted] = 200
    picture[8:16, 8:24] = 10
    found = few_steps.distances([picture], [reference], [painted])
    assert found["rmse"] == pytest.approx(10 / np.sqrt(2))
    assert found["ssim"] < 1


def test_a_mistake_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit, match="2"):
        few_steps.main([*arguments, "data.height=60"])
    assert capsys.readouterr().err.splitlines()[-1].endswith("use multiples of 16 for both")
