"""The stages in their order, what is not repeated, and what is refused. The commands have tests of their own."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from siftvton import cli
from siftvton.commands import schemas
from siftvton.errors import InputError, UsageError
from siftvton.files import write_json, write_text
from siftvton.reproduction import run as module
from siftvton.reproduction.config import Reproduce
from siftvton.reproduction.run import reproduce

PAIRS = 3
SCORED = ["infer", "evaluate", "infer", "evaluate"]
Calls = list[tuple[str, dict[str, str]]]


@pytest.fixture
def calls() -> Calls:
    """The commands that ran, with their keys."""
    return []


HERE = {"device": "here", "system": "one", "python": "3", "versions": {"torch": "2"}, "cuda": None, "commit": None}


@pytest.fixture
def run(
    configuration: Callable[..., Reproduce], calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """``run(*keys, before=function)``: reproduce; ``before`` is called with each command's name.

    Each command writes what the next one reads. ``weights.ckpt`` stands for all weights.
    """
    checkpoint = tmp_path / "weights.ckpt"
    checkpoint.write_bytes(b"weights")
    monkeypatch.setattr(module, "environment", lambda: HERE)

    def run(*keys: str, before: Callable[[str], None] = lambda name: None) -> str:
        config = configuration(f"sift_vton.checkpoint={checkpoint}", f"stableviton.checkpoint={checkpoint}", *keys)

        def call(name: str, given: Sequence[str]) -> str:
            before(name)
            cli.load(schemas()[name], config.settings, given)  # every key is one of the command's
            values = dict(key.split("=", 1) for key in given)
            calls.append((name, values))
            output = Path(values["output"])
            results = PAIRS if config.limit is None else config.limit
            write_text(output / f"{name}.yaml", "")
            if name == "train":
                lora = values.get("train.trainable") == "lora"
                write_text(output / ("model_lora" if lora else "model") / "weights", "")
            if name == "infer":
                for number in range(results):
                    write_text(output / f"{number}.png", "")
            if name == "evaluate":
                write_json(output / "metrics.json", metrics(values["setting"], results))
            return ""

        return reproduce(config, call)

    return run


def metrics(setting: str, pictures: int) -> dict:
    """What evaluate.py would write."""
    column = {"weights": None, "not_run": None}
    scores = {"ssim": 0.85} if setting == "paired" else {"fid": 9.0}
    return {
        "protocol": {"setting": setting},
        "metrics": dict.fromkeys(scores, column),
        "results": {"ours": {"pictures": pictures, "scores": scores, "intervals": {}}},
    }


def names(calls: Calls) -> list[str]:
    return [name for name, _ in calls]


def test_both_settings_are_sampled_and_scored(run, calls, tmp_path: Path):
    text = run()
    assert names(calls) == ["check_data", *SCORED]
    assert [keys["setting"] for _, keys in calls[1:]] == ["paired", "paired", "unpaired", "unpaired"]
    assert all(keys["checkpoint"] == str(tmp_path / "weights.ckpt") for name, keys in calls if name == "infer")
    assert "**Reproduced: SSIM within tolerance.**" in text
    assert "| SSIM ↑ | paired | within tolerance | 0.9000 | 0.8500 | – | -0.0500 | ± 1 |" in text
    assert "| FID ↓ | unpaired | no figure published | – | 9.000 | – | – | – |" in text


def test_finished_stages_are_not_repeated(run, calls):
    run()
    calls.clear()
    assert "**Reproduced: SSIM within tolerance.**" in run()
    assert calls == []


@pytest.mark.parametrize("what", ["sift-vton", "train"])
@pytest.mark.parametrize("place", range(8))
def test_a_stop_before_any_command_loses_nothing(run, calls, tmp_path: Path, what: str, place: int):
    def stop(name: str) -> None:
        if len(calls) == place:
            raise KeyboardInterrupt

    expected = ["check_data", *(["preprocess_sift", "check_data", "train"] if what == "train" else []), *SCORED]
    if place < len(expected):
        with pytest.raises(KeyboardInterrupt):
            run(f"what={what}", before=stop)
        assert not (tmp_path / "out" / "verdict.md").exists()
    run(f"what={what}")
    assert names(calls) == expected, "each command once"


def test_a_lost_picture_is_sampled_and_scored_again(run, calls, tmp_path: Path):
    run()
    (tmp_path / "out" / "unpaired" / "0.png").unlink()
    calls.clear()
    run()
    assert [(name, keys["setting"]) for name, keys in calls] == [("infer", "unpaired"), ("evaluate", "unpaired")]


def test_scores_of_results_that_were_sampled_again_are_not_kept(run, calls, tmp_path: Path):
    run()
    (tmp_path / "out" / "paired" / "0.png").unlink()

    def stop(name: str) -> None:
        if name == "evaluate":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(before=stop)
    calls.clear()
    run()
    assert names(calls) == ["evaluate", "infer", "evaluate"]


def test_a_trial_run_gives_no_verdict_and_the_whole_run_continues_from_it(run, calls):
    trial = f"**No verdict: only 2 of {PAIRS} pairs were scored.**"
    assert trial in run("limit=2")
    calls.clear()
    assert "**Reproduced: SSIM within tolerance.**" in run()
    assert names(calls) == SCORED


def test_the_baseline_is_sampled_with_its_own_keys(run, calls):
    run("what=stableviton")
    assert [keys.get("guidance") for _, keys in calls[1:]] == ["1", None, "1", None]


def test_training_starts_from_the_baseline_with_new_matches(run, calls, tmp_path: Path):
    text = run("what=train", "limit=2", "keys.train=train.batch_size=2 train.accumulation=16")
    out = tmp_path / "out"
    assert names(calls) == ["check_data", "preprocess_sift", "check_data", "train", *SCORED]
    _, check, keys = (keys for name, keys in calls if name in ("check_data", "train"))
    assert check["data.matches"] == keys["data.matches"] == str(out / "matches")
    assert (keys["train.batch_size"], keys["train.updates"]) == ("2", "2")
    assert keys["model.pretrained"] == str(tmp_path / "weights.ckpt")
    assert f"- judged: {out / 'train' / 'model'}" in text


def test_the_best_weights_of_a_training_are_judged(run, calls, tmp_path: Path):
    (tmp_path / "out" / "train" / "best").mkdir(parents=True)
    run("what=train")
    assert calls[-2][1]["checkpoint"] == str(tmp_path / "out" / "train" / "best")


def test_given_matches_are_not_searched(run, calls, tmp_path: Path):
    run("what=train", f"matches={tmp_path / 'known'}")
    assert "preprocess_sift" not in names(calls)
    assert [keys["data.matches"] for name, keys in calls if name == "train"] == [str(tmp_path / "known")]


def test_given_weights_are_judged_without_training(run, calls, tmp_path: Path):
    text = run("what=train", f"trained.checkpoint={tmp_path / 'weights.ckpt'}")
    assert names(calls) == ["check_data", *SCORED]
    assert "# Reproduction of train" in text


def test_a_training_of_updates_alone_is_named_and_not_taken_for_a_stopped_one(run):
    with pytest.raises(InputError, match=r"train: holds no whole model; use train\.trainable=finetune or all"):
        run("what=train", "keys.train=train.trainable=lora")


def test_a_training_that_leaves_no_whole_model_is_named(run, tmp_path: Path):
    out = tmp_path / "out" / "train"

    run("what=train")
    (out / "model").rename(out / "model_lora")
    with pytest.raises(InputError, match=r"train: holds no whole model; use train\.trainable=finetune or all"):
        run("what=train")


def test_other_tolerances_judge_the_same_scores(run, calls):
    run()
    calls.clear()
    text = run("sift_vton.published.ssim=0.9", "sift_vton.tolerance.ssim=0.001")
    assert "**Not reproduced: SSIM (outside, worse).**" in text
    assert calls == []


def test_a_folder_with_another_reproduction_is_refused(run):
    run()
    with pytest.raises(UsageError, match=r"holds another reproduction \(what: sift-vton -> stableviton\); use another"):
        run("what=stableviton")
    with pytest.raises(UsageError, match=r"holds another reproduction \(seed: 0 -> 1\)"):
        run("seed=1")


def test_several_processes_are_refused(run, calls, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=r"reproduce runs in one process; .* give trained\.checkpoint="):
        run()
    assert calls == []


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("what=dance", "what=dance is not allowed"),
        ("pairs=1", "pairs=1 is not allowed; use 2 or more"),
        ("limit=1", "limit=1 is not allowed; use 2 or more"),
        ("sift_vton.published.fid=nan", r"sift_vton\.published\.fid=nan is not allowed"),
        ("sift_vton.tolerance.ssim=-1", r"sift_vton\.tolerance\.ssim=-1 is not allowed; use 0 or more"),
        ("sift_vton.tolerance.ssim=null", r"sift_vton\.published\.ssim has no tolerance"),
        ("sift_vton.reason.ssim= ", r"sift_vton\.tolerance\.ssim has no reason"),
        ("sift_vton.reason.psnr=x", r"sift_vton\.reason\.psnr is not allowed; use a measure: ssim, lpips, fid, kid"),
        ("sift_vton.checkpoint=null", r"sift_vton\.checkpoint=null is not allowed; name the weights"),
        ("sift_vton.sampling=steps='2", r"sift_vton\.sampling=steps='2 is not allowed \(No closing quotation\)"),
        ("keys.app=port=1", r"keys\.app is not allowed; use one of check_data"),
        ("keys.infer=output=x", r"keys\.infer: output=x is not allowed, since reproduce gives this key itself"),
        ("keys.infer=steps='2", r"keys\.infer=steps='2 is not allowed \(No closing quotation\)"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_before_anything_is_written(run, calls, tmp_path, key, message):
    with pytest.raises(UsageError, match=message):
        run(key)
    assert calls == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["[1]", '{"check": 1}', "{"])
def test_a_damaged_record_is_named(run, tmp_path: Path, content: str):
    run()
    (tmp_path / "out" / "stages.json").write_text(content)
    with pytest.raises(InputError, match=r"stages\.json: .*(delete it and run again|not JSON)"):
        run()


def test_scores_that_are_no_report_are_named(run, tmp_path: Path):
    run()
    (tmp_path / "out" / "scores_paired" / "metrics.json").write_text(json.dumps({"results": {}}))
    with pytest.raises(InputError, match=r"scores_paired/metrics\.json: is not a report of evaluate\.py; delete"):
        run()


def test_the_environment_of_each_stage_is_kept(run, tmp_path: Path, monkeypatch):
    def stop(name: str) -> None:
        if name == "infer":
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "environment", lambda: HERE | {"device": "first"})
    with pytest.raises(KeyboardInterrupt):
        run(before=stop)
    monkeypatch.setattr(module, "environment", lambda: HERE | {"device": "second"})
    text = run()
    assert "- check: first; " in text
    assert "- sample_paired, score_paired, sample_unpaired, score_unpaired: second; " in text


def test_a_dry_run_lists_the_commands_and_writes_nothing(settings: Path, tmp_path: Path, capsys):
    with pytest.raises(SystemExit):
        cli.run("reproduce", ["--config", str(settings), "--dry-run", "what=train"], "reproduce.py")
    shown = [line.split()[2] for line in capsys.readouterr().out.splitlines() if line.startswith("# python ")]
    expected = ["check_data", "preprocess_sift", "check_data", "train", *SCORED]
    assert shown == [f"scripts/{name}.py" for name in expected]
    assert not (tmp_path / "out").exists()
