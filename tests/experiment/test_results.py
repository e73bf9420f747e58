"""The tables and tests computed from an experiment's measures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from siftvton.errors import InputError, UsageError
from siftvton.experiment.config import Experiment
from siftvton.experiment.results import (
    BEGIN,
    END,
    PRIMARY,
    markdown,
    paired_differences,
    sign_flip_test,
    summary,
    write_report,
)


def entry(arm: str, seed: int, value: float, images: dict[str, float]) -> dict[str, Any]:
    return {"arm": arm, "seed": seed, "keys": [], "measures": {PRIMARY: value}, "per_image": {PRIMARY: images}}


def test_means_and_spreads_are_over_seeds() -> None:
    report = summary([entry("a", seed, value, {}) for seed, value in enumerate((1.0, 2.0, 6.0))])
    assert report[PRIMARY] == {"mean": 3.0, "std": pytest.approx(7**0.5), "per_seed": [1.0, 2.0, 6.0]}
    assert summary([entry("a", 0, 1.0, {})])[PRIMARY]["std"] is None


def test_differences_are_between_results_of_the_same_seed_and_image() -> None:
    arm = [entry("a", 0, 0, {"x": 1.0, "y": 2.0}), entry("a", 1, 0, {"x": 5.0, "y": 5.0})]
    reference = [entry("r", 1, 0, {"y": 1.0, "x": 2.0, "z": 9.0}), entry("r", 2, 0, {"x": 0.0})]
    assert paired_differences(arm, reference).tolist() == [[3.0, 4.0]]


def test_the_permutation_test_finds_a_shift_but_not_noise() -> None:
    noise = np.random.default_rng(0).normal(size=(3, 100))
    assert sign_flip_test(noise + 1) < 0.001
    assert sign_flip_test(noise) > 0.05
    assert sign_flip_test(np.tile(noise[:1], (3, 1))) == sign_flip_test(noise[:1]), "seeds do not count as images"


def test_few_images_never_give_a_small_p() -> None:
    """All four signs are equal in an eighth of the draws."""
    assert sign_flip_test(np.ones((3, 4))) == pytest.approx(1 / 8, abs=0.01)


def test_the_report_is_json_by_arm_and_measure_and_a_table(tmp_path: Path) -> None:
    for arm, shift in (("none", 0.0), ("sift", -0.5)):
        for seed in (0, 1):
            images = {f"i{number}": number + shift for number in range(8)}
            content = entry(arm, seed, np.mean(list(images.values())), images)
            (tmp_path / f"{arm}-seed-{seed}.json").write_text(json.dumps(content))
    arms = {"none": "", "sift": ""}
    table = write_report(Experiment(arms=arms, measures=str(tmp_path), report=str(tmp_path / "out" / "results")))
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    assert report["sift"][PRIMARY] == {"mean": 3.0, "std": 0.0, "per_seed": [3.0, 3.0]}
    assert "| none | 2 | 3.5000 ± 0.0000 |" in table
    assert "| sift | none | -0.5000, -0.5000 | -0.5000 | -0.5000 to -0.5000 | 0.0" in table
    page = tmp_path / "out" / "results.md"
    assert page.read_text() == f"{BEGIN}\n{table}{END}\n"


def test_the_tables_replace_the_text_between_the_marks_of_a_page(tmp_path: Path) -> None:
    config = Experiment(arms={"b": "", "a": ""}, measures=str(tmp_path), report=str(tmp_path / "results"))
    for arm in ("a", "b", "of_another_experiment"):
        (tmp_path / f"{arm}-seed-0.json").write_text(json.dumps(entry(arm, 0, 1.0, {"x": 1.0})))
    page = tmp_path / "results.md"
    page.write_text(f"# Results\n\n{BEGIN}\nold\n{END}\nMore.\n")
    table = write_report(config)
    assert page.read_text() == f"# Results\n\n{BEGIN}\n{table}{END}\nMore.\n"
    assert [line.split()[1] for line in table.splitlines()[2:4]] == ["b", "a"], "in the order of the arms"
    page.write_text("# Results\n")
    with pytest.raises(UsageError, match=r"results\.md: has no lines"):
        write_report(config)
    assert page.read_text() == "# Results\n"


def test_measures_that_no_arm_has_get_no_column() -> None:
    table = markdown({"a": [entry("a", 0, 0.5, {"x": 0.5})]}, {"a": "a"}).splitlines()
    assert table[0] == "| arm | seeds | print error, unpaired ↓ |"
    assert table[2] == "| a | 1 | 0.5000 |"


def test_an_arm_may_have_a_reference_of_its_own() -> None:
    arms = {name: [entry(name, 0, value, {"x": value})] for name, value in (("a", 1.0), ("b", 2.0), ("c", 5.0))}
    table = markdown(arms, {"a": "a", "b": "a", "c": "b"})
    assert "| b | a | +1.0000 |" in table
    assert "| c | b | +3.0000 |" in table


def test_without_the_reference_there_is_no_comparison() -> None:
    assert "| none |" not in markdown({"sift": [entry("sift", 0, 1.0, {"x": 1.0})]}, {"sift": "none"})


def test_an_image_that_one_seed_lacks_is_left_out_for_all_seeds() -> None:
    arm = [entry("a", 0, 0, {"x": 1.0, "y": 2.0}), entry("a", 1, 0, {"y": 5.0})]
    reference = [entry("r", 0, 0, {"x": 0.0, "y": 0.0}), entry("r", 1, 0, {"x": 0.0, "y": 1.0})]
    assert paired_differences(arm, reference).tolist() == [[2.0], [4.0]]
    assert "| a | r |" not in markdown({"a": arm, "r": [entry("r", 0, 0, {"z": 1.0})]}, {"a": "r", "r": "r"})


WHOLE = {"arm": "a", "seed": 0, "measures": {"ssim_paired": 1.0}, "per_image": {PRIMARY: {"x": 1.0}}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ('{"arm":', "not JSON"),
        ("[]", "lacks measures"),
        ("[" * 100_000, r"not JSON \(too many levels\)"),
        ('{"measures": {"a": NaN}}', "NaN is not a JSON number"),
        (b"\xff\xfe", "not JSON"),
        (WHOLE | {"measures": None}, "lacks measures"),
        (WHOLE | {"measures": {"ssim_paired": "x"}}, r"measures\.ssim_paired is 'x', not a finite number"),
        (WHOLE | {"measures": {"ssim_paired": True}}, "not a finite number"),
        (WHOLE | {"measures": {"ssim_paired": 10**400}}, "not a finite number"),
        (WHOLE | {"per_image": {}}, f"or per_image.{PRIMARY}"),
        (WHOLE | {"per_image": {PRIMARY: {"x": None}}}, rf"per_image\.{PRIMARY}\.x is None"),
        (WHOLE | {"seed": "0"}, "seed is '0', not 0"),
        (WHOLE | {"seed": 1}, "seed is 1, not 0"),
        (WHOLE | {"arm": "b"}, "arm is 'b', not 'a'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_broken_measures_are_one_line(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "a-seed-0.json"
    content = json.dumps(content) if isinstance(content, dict) else content
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as raised:
        write_report(Experiment(arms={"a": ""}, measures=str(tmp_path), report=str(tmp_path / "results")))
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_files_of_arms_with_similar_names_are_ignored(tmp_path: Path) -> None:
    for name in ("a-seed-0", "a-seed-1-seed-0", "a-seed-0.part", "b-seed-0"):
        (tmp_path / f"{name}.json").write_text(json.dumps(entry(name.rpartition("-seed-")[0], 0, 1.0, {"x": 1.0})))
    table = write_report(Experiment(arms={"a": ""}, measures=str(tmp_path), report=str(tmp_path / "results")))
    assert "| a | 1 | 1.0000 |" in table


def test_a_page_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "results.md").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"results\.md: not UTF-8 text"):
        write_report(Experiment(arms={"a": ""}, measures=str(tmp_path), report=str(tmp_path / "results")))
