"""Scores of each category, and of all together, in one table."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from drawn_dresscode import pair
from stand_ins import HEIGHT, WIDTH, picture

from siftvton.commands.evaluate import Evaluate, evaluate
from siftvton.data.config import HeldOutData
from siftvton.files import write_image, write_text

NUMBERS = {"upper_body": ("1", "2", "3"), "lower_body": ("4", "5", "6"), "dresses": ("7",)}


@pytest.fixture
def config(tmp_path: Path) -> Evaluate:
    """Persons in DressCode's layout; everybody tries on the next garment of the category."""
    lists: dict[str, list[str]] = {"paired": [], "unpaired": []}
    for place, (category, names) in enumerate(NUMBERS.items()):
        for index, name in enumerate(names):
            other = names[(index + 1) % len(names)] if len(names) > 1 else "8"
            write_image(tmp_path / "data" / category / "images" / f"{name}_0.jpg", picture("photo", int(name)))
            write_image(tmp_path / "data" / category / "images" / f"{name}_1.jpg", picture("garment", int(name)))
            for setting, garment in (("paired", name), ("unpaired", other)):
                write_image(
                    tmp_path / setting / f"{name}_0_{garment}_1.png", picture(f"{setting} {category}", int(name))
                )
                lists[setting].append(f"{pair(name, garment)}\t{place}\n")
    for setting, lines in lists.items():
        write_text(tmp_path / "data" / f"test_pairs_{setting}.txt", "".join(lines))
    return Evaluate(
        data=HeldOutData(root=str(tmp_path / "data"), height=HEIGHT, width=WIDTH),
        predictions={"ours": str(tmp_path / "paired")},
        setting="paired",
        workers=0,
        device="cpu",
        output=str(tmp_path / "output"),
    )


def results(config: Evaluate) -> dict:
    return json.loads((Path(config.output) / "metrics.json").read_text())["results"]["ours"]


def rows(table: str) -> list[str]:
    return [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ours")]


def test_a_category_s_score_is_the_mean_of_its_pictures(config: Evaluate) -> None:
    table = evaluate(config)
    assert rows(table) == ["ours", "ours: upper_body", "ours: lower_body", "ours: dresses"]
    found = results(config)
    with open(Path(config.output) / "per_image_ours.csv", encoding="utf-8", newline="") as file:
        pictures = list(csv.DictReader(file))
    for category, names in NUMBERS.items():
        own = [float(row["ssim"]) for row in pictures if row["category"] == category]
        assert len(own) == len(names) == found["categories"][category]["pictures"]
        assert found["categories"][category]["scores"]["ssim"] == pytest.approx(np.mean(own))
    assert found["scores"]["ssim"] == pytest.approx(np.mean([float(row["ssim"]) for row in pictures]))


def test_a_category_is_compared_with_its_own_persons_and_never_with_garments(
    config: Evaluate, tmp_path: Path, autoencoder_folder: Path
) -> None:
    config.setting, config.predictions = "unpaired", {"ours": str(tmp_path / "unpaired")}
    config.autoencoder = str(autoencoder_folder)
    table = evaluate(config)
    together = results(config)
    assert "the set of 7 photos" in table  # their folders hold 14 pictures
    assert "| ours: dresses | 1 | not run | not run | too few | too few |" in table
    for category in ("upper_body", "lower_body"):
        config.data.category = category
        evaluate(config)
        alone = results(config)
        assert "categories" not in alone
        assert together["categories"][category]["scores"] == pytest.approx(alone["scores"])
