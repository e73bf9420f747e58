"""The commands of an experiment: their order, and that no work is repeated. The commands have tests of their own."""

import json
from pathlib import Path

import pytest

from siftvton import cli
from siftvton.commands import schemas
from siftvton.errors import InputError, UsageError
from siftvton.experiment import arms
from siftvton.experiment.arms import experiment
from siftvton.experiment.config import Experiment
from siftvton.experiment.results import PRIMARY
from siftvton.files import write_json, write_text
from siftvton.settings import save_configuration
from siftvton.training.config import Train

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def config(tmp_path: Path) -> Experiment:
    (tmp_path / "base").mkdir()
    return Experiment(
        base_weights=str(tmp_path / "base"),
        arms={"none": "model.pretrained={base}", "sift": "model.pretrained={base} data.matches={matches}/exact"},
        seeds=[0, 1],
        jobs=1,
        output=str(tmp_path / "out"),
        measures=str(tmp_path / "measures"),
        report=str(tmp_path / "results"),
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str]]]:
    """The commands that were run. Each writes what the next one reads."""
    made: list[tuple[str, dict[str, str]]] = []

    def run(config: Experiment, script: str, *keys: str, log: Path, threads: int) -> None:
        given = dict(key.split("=", 1) for key in keys)
        schema = schemas()[script]
        cli.load(schema, CONFIGS / "experiment.yaml", list(keys))  # every key is one of the script's
        made.append((script, given))
        output = Path(given["output"])
        if script == "train":
            write_json(output / "checkpoints" / "update-0000003" / "progress.json", {"update": 3, "images": 8})
        if script == "evaluate_toy":
            means = ["print_error", "print_similarity", "colour_distance"]
            means += ["perceptual_distance"] if given["setting"] == "paired" else []  # as without AlexNet's file
            write_json(output / "toy.json", {name: {"value": 0.5} for name in means})
            write_text(output / "toy_per_image.csv", "result,print_error\na,0.25\nplain,\n")
        if script == "evaluate":
            (arm,) = (key.partition(".")[2] for key in given if key.startswith("predictions."))
            write_json(output / "metrics.json", {"results": {arm: {"scores": {"autoencoder_frechet": 3.0}}}})
        if script == "attention_error":
            layers = {"up": {"grid": [4, 3], "attention_error_px": 20.0, "attention_pck": 0.5}}
            totals = {"attention_error_px": {"value": 20.0}, "attention_pck": {"value": 0.5}}
            write_json(output / "attention_error.json", {"layers": layers, **totals})

    monkeypatch.setattr(arms, "_run", run)
    monkeypatch.setattr(arms, "write_match_sets", lambda root, published, output: made.append(("matches", {})))
    return made


def test_all_arms_are_trained_from_the_base_seed_by_seed(config: Experiment, calls: list) -> None:
    experiment(config)
    trained = [keys for script, keys in calls if script == "train"]
    assert [Path(keys["output"]).parts[-3:-1] for keys in trained] == [
        ("none", "seed-0"), ("sift", "seed-0"), ("none", "seed-1"), ("sift", "seed-1"),
    ]  # fmt: skip
    assert all(keys["model.pretrained"] == config.base_weights for keys in trained)
    assert trained[1]["data.matches"] == f"{config.output}/matches/exact"
    assert trained[3]["train.seed"] == "1"


def test_the_file_of_an_arm_has_all_its_measures(config: Experiment, calls: list) -> None:
    experiment(config)
    content = json.loads((Path(config.measures) / "sift-seed-1.json").read_text())
    assert content["per_image"] == {PRIMARY: {"a": 0.25}}
    expected = {PRIMARY, "print_error_paired", "perceptual_distance_paired", "frechet_unpaired"}
    expected |= {"attention_error_px", "attention_pck_up", "images_per_second"}
    assert expected <= content["measures"].keys()
    assert "perceptual_distance_unpaired" not in content["measures"]
    report = json.loads(Path(f"{config.report}.json").read_text())
    assert report["sift"]["attention_pck"] == {"mean": 0.5, "std": 0.0, "per_seed": [0.5, 0.5]}


def test_an_arm_of_updates_is_measured_with_its_base(
    config: Experiment, calls: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = arms._run

    def run(config: Experiment, script: str, *keys: str, log: Path, threads: int) -> None:
        whole(config, script, *keys, log=log, threads=threads)
        if script == "train":
            output = Path(dict(key.split("=", 1) for key in keys)["output"])
            (output / "model_lora").mkdir()
            saved = Train()
            saved.model.pretrained, saved.model.autoencoder = config.base_weights, "own/vae"
            save_configuration(saved, output / "train.yaml")

    monkeypatch.setattr(arms, "_run", run)
    experiment(config)
    measured = [keys for script, keys in calls if script in ("infer", "attention_error")]
    assert all(keys["checkpoint"] == config.base_weights for keys in measured)
    assert all(keys["autoencoder"] == "own/vae" for keys in measured)
    assert {Path(keys["lora"]).parts[-4:] for keys in measured} == {
        (arm, f"seed-{seed}", "run", "model_lora") for arm in config.arms for seed in config.seeds
    }


def test_parallel_jobs_measure_every_arm_once(config: Experiment, calls: list) -> None:
    config.jobs = 3
    experiment(config)
    assert len(list(Path(config.measures).iterdir())) == 4
    assert sum(script == "train" for script, _ in calls) == 4


def test_a_failed_arm_ends_the_experiment_and_finished_arms_are_kept(
    config: Experiment, calls: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = arms._measured

    def first_sift_fails(config: Experiment, arm: str, seed: int, keys: str, threads: int) -> dict:
        if arm == "sift" and seed == 0:
            raise InputError("no more")
        return whole(config, arm, seed, keys, threads)

    monkeypatch.setattr(arms, "_measured", first_sift_fails)
    with pytest.raises(InputError, match="no more"):
        experiment(config)
    assert "none-seed-0.json" in {path.name for path in Path(config.measures).iterdir()}
    monkeypatch.setattr(arms, "_measured", whole)
    experiment(config)
    assert len(list(Path(config.measures).iterdir())) == 4


def test_a_measured_arm_is_not_trained_again(config: Experiment, calls: list) -> None:
    experiment(config)
    (Path(config.measures) / "sift-seed-0.json").unlink()
    calls.clear()
    experiment(config)
    assert [keys["output"] for script, keys in calls if script == "train"] == [f"{config.output}/sift/seed-0/run"]
    calls.clear()
    experiment(config)
    assert calls == []


def test_measures_of_other_keys_are_refused(config: Experiment, calls: list) -> None:
    experiment(config)
    config.arms["sift"] += " supervision.weight=1"
    with pytest.raises(UsageError, match=r"sift-seed-0\.json: was measured with other keys"):
        experiment(config)


def test_measures_of_the_other_split_are_refused(config: Experiment, calls: list) -> None:
    experiment(config)
    config.split = "validation" if config.split == "test" else "test"
    with pytest.raises(UsageError, match=r"-seed-0\.json: was measured with other split \("):
        experiment(config)


def test_another_folder_for_the_runs_leaves_the_measures_valid(config: Experiment, calls: list) -> None:
    experiment(config)
    calls.clear()
    config.output += "-moved"
    experiment(config)
    assert calls == []


@pytest.mark.parametrize("keys", ["data.matches={match}/exact", "x={base.nothing}", "x={0}", "x={", "x={base[a]}"])
def test_an_unknown_field_in_an_arms_keys_is_refused(config: Experiment, calls: list, keys: str) -> None:
    config.arms["sift"] = keys
    with pytest.raises(UsageError, match=r"is not allowed; use \{base\} and \{matches\} as the only fields"):
        experiment(config)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("reference", "nothing", "reference"),
        ("references", {"sift": "nothing"}, "references.sift"),
        ("references", {"nothing": "none"}, "references"),
    ],
)
def test_a_reference_that_is_not_an_arm_is_refused(config: Experiment, key: str, value: object, named: str) -> None:
    setattr(config, key, value)
    with pytest.raises(UsageError, match=f"^{named}=nothing is not allowed; use an arm: none, sift"):
        experiment(config)


def test_arms_are_measured_on_the_requested_split(config: Experiment, calls: list) -> None:
    config.split = "validation"
    experiment(config)
    measured = [keys["data.split"] for script, keys in calls if script in ("infer", "attention_error")]
    assert set(measured) == {"validation"}


def test_a_command_that_fails_is_named_with_its_last_line(config: Experiment, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"train unknown=1 failed: .*unknown key unknown.*; see .*log\.txt for its whole output"
    ):
        arms._run(config, "train", "unknown=1", log=tmp_path / "log.txt", threads=1)


@pytest.mark.parametrize("name", ["experiment", "experiment_choice", "ablations"])
def test_the_arms_of_the_shipped_experiments_have_keys_that_train_accepts(name: str, tmp_path: Path) -> None:
    config = cli.load(Experiment, CONFIGS / f"{name}.yaml", [])
    assert config.settings == f"configs/{name}.yaml"
    for keys in config.arms.values():
        cli.load(schemas()["train"], CONFIGS / f"{name}.yaml", keys.format(base="b", matches="m").split())


@pytest.mark.parametrize("name", ["../up", "a/b", "", "a b", "."])
def test_an_arm_has_a_name_that_a_folder_can_have(config: Experiment, calls: list, name: str) -> None:
    config.arms[name] = ""
    with pytest.raises(UsageError, match=r"^arms\..* is not allowed; use a name of letters, "):
        experiment(config)


def test_folder_names_that_the_commands_would_interpret_are_refused(config: Experiment, calls: list) -> None:
    config.output += "/price$"
    with pytest.raises(UsageError, match=r"^output=.*price\$ is not allowed; use a path without"):
        experiment(config)


def test_a_folder_with_a_space_stays_one_key(config: Experiment, calls: list) -> None:
    config.base_weights += " two"
    Path(config.base_weights).mkdir()
    experiment(config)
    assert {keys["model.pretrained"] for script, keys in calls if script == "train"} == {config.base_weights}


def test_broken_measures_are_named_before_anything_is_run(config: Experiment, calls: list) -> None:
    write_text(Path(config.measures) / "sift-seed-1.json", '{"arm":')
    with pytest.raises(InputError, match=r"sift-seed-1\.json: not JSON"):
        experiment(config)
    assert calls == []


def test_a_value_that_a_command_did_not_write_is_named(config: Experiment, calls: list, monkeypatch) -> None:
    made = arms._run

    def without_prints(config: Experiment, script: str, *keys: str, **options: object) -> None:
        made(config, script, *keys, **options)
        if script == "evaluate_toy":
            output = dict(key.split("=", 1) for key in keys)["output"]
            write_json(Path(output) / "toy.json", {"results": 1})

    monkeypatch.setattr(arms, "_run", without_prints)
    with pytest.raises(InputError, match=r"toy\.json: has no print_error\.value; "):
        experiment(config)


def test_missing_weights_of_the_base_are_named_before_the_data_are_made(config: Experiment, calls: list) -> None:
    config.base_weights += " gone"
    with pytest.raises(InputError, match=r"^base_weights=.* gone: no such folder or file"):
        experiment(config)
    assert not calls
