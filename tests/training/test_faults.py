"""Faults during a run: damage, full disks, NaN or infinite values, kills."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from runs import metrics, run, same_weights

from siftvton.draws import numpy_generator
from siftvton.errors import DivergedError, InputError, UsageError
from siftvton.settings import save_configuration
from siftvton.supervision.losses import noise_error
from siftvton.training import loop, manifest, records, step
from siftvton.training.guards import not_finite
from siftvton.training.loop import _Run, train
from siftvton.training.state import StreamSampler


def test_a_damaged_checkpoint_is_replaced_by_the_one_before(configuration, capsys: pytest.CaptureFixture):
    straight = run(configuration("straight", updates=6))
    output = run(configuration("damaged", updates=4))
    path = output / "checkpoints" / "update-0000004" / "optimizer.bin"
    path.write_bytes(path.read_bytes()[:100])
    run(configuration("damaged", updates=6))
    assert "update-0000004: cannot be resumed" in capsys.readouterr().out
    assert metrics(output) == metrics(straight)
    assert same_weights(output, straight)


def test_a_named_checkpoint_that_is_damaged_is_not_replaced(configuration):
    config = configuration(updates=4)
    output = run(config)
    (output / "checkpoints" / "update-0000004" / "progress.json").write_text("{")
    config.resume = "update-0000004"
    with pytest.raises(InputError, match="update-0000004: cannot be resumed"):
        train(config)


def test_reading_a_checkpoint_runs_no_code(configuration, tmp_path: Path):
    config = configuration(updates=2)
    output = run(config)

    class Hostile:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    for path in (output / "checkpoints" / "update-0000002").iterdir():
        if path.suffix in (".bin", ".pkl"):
            torch.save(Hostile(), path)
    checkpoint = output / "checkpoints" / "update-0000002"
    with pytest.raises(InputError, match="cannot be resumed"):
        train(configuration(updates=4))
    (checkpoint / "manifest.json").unlink()
    manifest.seal(checkpoint, json.loads((output / "run.json").read_text())["id"], 2)
    with pytest.raises(InputError, match="is complete, but cannot be loaded"):
        train(configuration(updates=4))
    assert not (tmp_path / "ran").exists()


def test_a_loss_that_is_nan_ends_the_run_before_it_is_logged(configuration, monkeypatch: pytest.MonkeyPatch):
    def broken(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.append(1)
        return noise_error(prediction, target) * (torch.nan if len(seen) == 3 else 1)

    seen: list[int] = []
    monkeypatch.setattr(step, "noise_error", broken)
    config = configuration(updates=4)
    with pytest.raises(
        DivergedError, match=r"update 3: .*noise is nan.*gradient_norm is nan; its images: \d{5}_00_"
    ) as e:
        train(config)
    assert "last good checkpoint: " + str(Path(config.output) / "checkpoints" / "update-0000002") in str(e.value)
    assert [entry["update"] for entry in metrics(Path(config.output))] == [1, 2]


@pytest.mark.parametrize(
    ("rate", "found"),
    [
        (math.inf, r"\S+\.weight is NaN or infinite"),
        (1e32, "the prediction with the new weights is NaN or infinite"),  # finite, but far too large
    ],
)
def test_weights_that_are_not_finite_are_never_written(configuration, rate, found):
    config = configuration(updates=1, learning_rate=rate, ema_decay=0.5)
    with pytest.raises(
        DivergedError, match=rf"update 1: .*{found}.*its images: .*last good checkpoint: none"
    ) as caught:
        train(config)
    assert "\n" not in str(caught.value)
    assert not list(Path(config.output).glob("checkpoints/update-*"))
    assert not (Path(config.output) / "model").exists()


def test_the_last_good_checkpoint_stays_after_bad_weights(configuration, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "learning_rate_factor", lambda update, *_: 1e35 if update == 2 else 1)
    config = configuration(updates=4, checkpoint_every=1, keep_checkpoints=1)
    with pytest.raises(DivergedError, match=r"update 3: .*last good checkpoint: .*update-0000002"):
        train(config)
    assert [path.name for path in (Path(config.output) / "checkpoints").iterdir()] == ["update-0000002"]
    monkeypatch.undo()
    assert [entry["update"] for entry in metrics(run(config))] == [1, 2, 3, 4]


def test_tensors_that_are_not_finite_are_named():
    tensors = {name: torch.ones(3, 4) for name in "abcd"}
    assert not_finite(tensors) == not_finite({}) == []
    tensors["a"][1, 1] = 1e30  # finite, but its square is infinite
    assert not_finite(tensors) == []
    tensors["b"][0, 0], tensors["d"][2, 3] = math.nan, -math.inf
    assert not_finite(tensors) == ["b", "d"]


def test_metrics_with_nan_or_infinity_are_valid_json(tmp_path: Path):
    """A gradient that overflows in float16 has an infinite norm, and its update is skipped."""
    path = tmp_path / "metrics.jsonl"
    records.append(path, 1, {"loss": 0.5, "gradient_norm": math.inf})
    records.append(path, 2, {"loss": math.nan, "gradient_norm": 1.0})

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    entries = [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]
    assert entries == [
        {"update": 1, "loss": 0.5, "gradient_norm": None},
        {"update": 2, "loss": None, "gradient_norm": 1.0},
    ]


def test_unreadable_lines_of_a_log_are_removed_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(
        b'{"upd\n\377\n[]\n{"update": "x"}\n{"update": 1, "norm": Infinity}\n{"update": 2}\n{"update": 3, "l'
    )
    assert records.cut(path, 1) == [{"update": 1, "norm": None}]
    assert path.read_text() == '{"update": 1, "norm": null}\n'
    printed = capsys.readouterr().out
    assert "removed 4 broken lines; the first is line 1" in printed


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(InputError, match=r"metrics\.jsonl: cannot be written \(.*\); free some space"):
        records.append(tmp_path / "metrics.jsonl", 1, {})


def test_a_folder_in_place_of_a_log_is_an_error(configuration):
    config = configuration(updates=2)
    (Path(config.output) / "metrics.jsonl").mkdir(parents=True)
    with pytest.raises(InputError, match=r"metrics\.jsonl: is a folder, not a file; move it"):
        train(config)


def test_the_logged_gradient_norm_is_the_one_before_clipping(configuration):
    free = metrics(run(configuration("free", updates=1)))
    clipped = metrics(run(configuration("clipped", updates=1, max_gradient_norm=1e-9)))
    assert free[0]["gradient_norm"] == clipped[0]["gradient_norm"] > 1e-3


@pytest.mark.parametrize("limit", [None, 0.5])
def test_a_gradient_norm_above_1_is_clipped_only_if_a_limit_is_set(
    configuration, monkeypatch: pytest.MonkeyPatch, limit
):
    """The gradients are measured, because the updates of AdamW do not depend on their scale."""
    plain, norms = torch.optim.AdamW.step, []

    def measured(self, *given):
        norms.append(float(torch.nn.utils.get_total_norm([p.grad for g in self.param_groups for p in g["params"]])))
        return plain(self, *given)

    monkeypatch.setattr(torch.optim.AdamW, "step", measured)
    config = configuration(supervision={"weight": 50.0}, updates=2, max_gradient_norm=limit)
    reported = [entry["gradient_norm"] for entry in metrics(run(config))]
    assert min(reported) > 2
    assert norms == pytest.approx(reported if limit is None else [limit, limit], rel=1e-4)


def test_after_an_error_the_trained_weights_are_back_in_place(configuration):
    run = _Run(configuration(ema_decay=0.5))
    before = [parameter.clone() for parameter in run.learner.trained]
    for shadow in run.learner.average.shadow_params:
        shadow += 1

    def fail() -> None:
        with run.learner.averaged():
            assert not torch.equal(run.learner.trained[0], before[0])
            raise InputError("a picture cannot be read")

    with pytest.raises(InputError, match="a picture"):
        fail()
    assert all(torch.equal(now, then) for now, then in zip(run.learner.trained, before, strict=True))


def test_data_that_end_early_are_an_error(configuration, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        loop, "StreamSampler", lambda pairs, seed, start, stop: StreamSampler(pairs, seed, start, stop - 2)
    )
    config = configuration(updates=2)
    with pytest.raises(AssertionError, match="the data ended after update 1 of 2"):
        train(config)
    assert not (Path(config.output) / "model").exists()


def test_if_a_checkpoint_cannot_be_written_the_one_before_stays(configuration, monkeypatch: pytest.MonkeyPatch):
    """A full disk in the middle of a file."""
    whole = Accelerator.save_state

    def full(self, folder: str) -> None:
        whole(self, folder)
        if "update-0000004" in folder:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Accelerator, "save_state", full)
    config = configuration(updates=4)
    with pytest.raises(
        InputError,
        match=r"update-0000004: cannot be written \(.*No space left.*free some space .*-0000002, which is complete$",
    ):
        train(config)
    assert [path.name for path in (Path(config.output) / "checkpoints").iterdir()] == ["update-0000002"]
    monkeypatch.undo()
    resumed = run(config)
    assert metrics(resumed) == metrics(run(configuration("straight", updates=4)))


def test_the_saved_model_has_the_averaged_weights(configuration):
    plain = run(configuration("plain", updates=4))
    averaged = run(configuration("averaged", updates=4, ema_decay=0.5, validate_every=2))
    run(configuration("stopped", updates=2, ema_decay=0.5))
    stopped = run(configuration("stopped", updates=4, ema_decay=0.5))
    assert metrics(averaged) == metrics(plain)  # neither the average nor a validation changes the run
    assert not same_weights(averaged, plain)
    assert same_weights(averaged, stopped)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_killed_several_times_ends_like_an_uninterrupted_run(
    configuration, tmp_path: Path, workers: int, request: pytest.FixtureRequest
):
    """SIGKILL at any moment: in an update, in a checkpoint, in the middle of an epoch, with accumulation."""
    planned = 10 if request.config.getoption("--slow") else 3
    settings = {"updates": 60, "batch_size": 1, "accumulation": 3, "checkpoint_every": 3, "workers": workers}
    config = configuration("killed", **settings)
    save_configuration(config, tmp_path / "train.yaml")
    script = Path(__file__).parents[2] / "scripts" / "train.py"
    draw = numpy_generator(workers, "kills")
    log = Path(config.output) / "metrics.jsonl"
    kills = 0
    while True:
        process = subprocess.Popen(
            [sys.executable, script, "--config", tmp_path / "train.yaml"],
            env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that the kill also reaches its workers
        )
        before = log.stat().st_mtime if log.exists() else 0
        while kills < planned and process.poll() is None and not (log.exists() and log.stat().st_mtime > before):
            time.sleep(0.01)
        if kills == planned:
            break
        time.sleep(draw.uniform(0, 1))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    assert process.wait(timeout=120) == 0
    straight = run(configuration("straight", **settings))
    assert metrics(Path(config.output)) == metrics(straight)
    assert same_weights(Path(config.output), straight)
    ours, theirs = (
        torch.load(folder / "checkpoints" / "update-0000060" / "optimizer.bin", weights_only=True)["state"]
        for folder in (Path(config.output), straight)
    )
    assert all(torch.equal(ours[key][name], theirs[key][name]) for key in theirs for name in theirs[key])


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that not even root may write to")
def test_an_output_folder_that_cannot_be_written_is_named_before_training(configuration):
    config = configuration(updates=1)
    config.output = "/proc/siftvton/run"
    with pytest.raises(UsageError, match="/proc/siftvton/run: this folder cannot be made"):
        train(config)
