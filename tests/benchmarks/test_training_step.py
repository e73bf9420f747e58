"""The benchmark of a training update compares forms that compute the same."""

import math
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from cases import SIZES
from training_step import PHASES, SETTINGS, Update, operations, table

# Bfloat16 has 8 bits of mantissa.
TOLERANCE = {"published": 1e-5, "checkpointed": 1e-5, "cached": 1e-5, "bf16": 5e-3, "bf16_cached": 5e-3,
             "adafactor_checkpointed_cached": 1e-5}  # fmt: skip


@pytest.fixture(scope="module")
def ours() -> dict[str, float]:
    return Update(SETTINGS["ours"], SIZES["toy"]).run()


@pytest.mark.parametrize("name", TOLERANCE)
def test_all_settings_have_the_same_loss(ours: dict[str, float], name: str):
    found = Update(SETTINGS[name], SIZES["toy"]).run()
    for key in ("loss", "sift"):
        assert found[key] == pytest.approx(ours[key], rel=TOLERANCE[name])
    assert ours["sift"] > 0


def test_an_update_changes_the_loss_of_the_next_one():
    update = Update(SETTINGS["ours"], SIZES["toy"])
    assert update.run()["loss"] != update.run()["loss"]


def test_checkpointing_computes_more_and_cached_latents_compute_less():
    plain, cached, checkpointed = (
        operations(Update(SETTINGS[name], SIZES["toy"])) for name in ("ours", "cached", "checkpointed")
    )
    assert cached < plain < checkpointed


def test_ratios_are_to_the_published_dataflow_of_the_same_round():
    row = {"cpu": 1.0, "faults": 0, "peak": 2.0, "loss": 1.0, "sift": 1.0, "flops": 1, **dict.fromkeys(PHASES, 1.0)}
    found = {
        "published": [{**row, "wall": wall} for wall in (10.0, 20.0, 40.0)],
        "ours": [{**row, "wall": wall} for wall in (5.0, 12.0, 16.0)],
    }
    *_, last = table(found).splitlines()
    middle = last.split("|")[3].split()[0]
    assert math.isclose(float(middle), 0.5)
