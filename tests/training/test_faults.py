"""What goes wrong in a run: signals, damage, full disks, numbers that are none."""

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

from siftvton import cli
from siftvton.draws import numpy_generator
from siftvton.errors import DivergedError, InputError, UsageError
from siftvton.supervision.losses import noise_error
from siftvton.training import step
from siftvton.training.loop import train


def test_a_damaged_checkpoint_gives_way_to_the_one_before(configuration, capsys: pytest.CaptureFixture):
    straight = run(configuration("straight", updates=6))
    output = run(configuration("damaged", updates=4))
    path = output / "checkpoints" / "update-0000004" / "optimizer.bin"
    path.write_bytes(path.read_bytes()[:100])
    run(configuration("damaged", updates=6))
    assert "update-0000004: cannot be resumed" in capsys.readouterr().out
    assert metrics(output) == metrics(straight)
    assert same_weights(output, straight)


def test_a_named_checkpoint_that_is_damaged_has_no_stand_in(configuration):
    config = configuration(updates=4)
    output = run(config)
    (output / "checkpoints" / "update-0000004" / "progress.json").write_text("{")
    config.resume = "update-0000004"
    with pytest.raises(InputError, match="update-0000004: cannot be resumed"):
        train(config)


def test_a_checkpoint_runs_nothing_when_it_is_read(configuration, tmp_path: Path):
    config = configuration(updates=2)
    output = run(config)

    class Hostile:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    for path in (output / "checkpoints" / "update-0000002").iterdir():
        if path.suffix in (".bin", ".pkl"):
            torch.save(Hostile(), path)
    with pytest.raises(InputError, match="cannot be resumed"):
        train(configuration(updates=4))
    assert not (tmp_path / "ran").exists()


def test_a_number_that_is_none_stops_the_run_before_it_is_kept(configuration, monkeypatch: pytest.MonkeyPatch):
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


def test_the_gradients_norm_is_the_one_before_clipping(configuration):
    free = metrics(run(configuration("free", updates=1)))
    clipped = metrics(run(configuration("clipped", updates=1, max_gradient_norm=1e-9)))
    assert free[0]["gradient_norm"] == clipped[0]["gradient_norm"] > 1e-3


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(configuration, monkeypatch: pytest.MonkeyPatch):
    """A full disk in the middle of a file."""
    whole = Accelerator.save_state

    def full(self, folder: str) -> None:
        whole(self, folder)
        if "update-0000004" in folder:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Accelerator, "save_state", full)
    config = configuration(updates=4)
    with pytest.raises(
        InputError, match=r"update-0000004: cannot be written \(.*No space left.*update-0000002 is whole"
    ):
        train(config)
    assert [path.name for path in (Path(config.output) / "checkpoints").iterdir()] == ["update-0000002"]
    monkeypatch.undo()
    resumed = run(config)
    assert metrics(resumed) == metrics(run(configuration("straight", updates=4)))


def test_the_average_of_the_weights_is_what_is_saved(configuration):
    plain = run(configuration("plain", updates=4))
    averaged = run(configuration("averaged", updates=4, ema_decay=0.5, validate_every=2))
    run(configuration("stopped", updates=2, ema_decay=0.5))
    stopped = run(configuration("stopped", updates=4, ema_decay=0.5))
    assert metrics(averaged) == metrics(plain)  # neither the average nor a validation changes the run
    assert not same_weights(averaged, plain)
    assert same_weights(averaged, stopped)


def test_sigterm_saves_and_the_same_command_goes_on(configuration, tmp_path: Path):
    config = configuration("stopped", updates=400, checkpoint_every=1000)
    cli.save(config, tmp_path / "train.yaml")
    script = Path(__file__).parents[2] / "scripts" / "train.py"
    process = subprocess.Popen(
        [sys.executable, script, "--config", tmp_path / "train.yaml"],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        stdout=subprocess.PIPE,
        text=True,
    )
    log = Path(config.output) / "metrics.jsonl"
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    done = len(metrics(Path(config.output)))
    assert f"stopped after update {done}; the same command goes on from it" in printed
    assert not (Path(config.output) / "model").exists()
    config.train.updates = done + 2
    resumed = run(config)
    straight = run(configuration("straight", updates=done + 2, checkpoint_every=1000))
    assert metrics(resumed) == metrics(straight)
    assert same_weights(resumed, straight)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_killed_again_and_again_ends_as_the_one_in_one_piece(
    configuration, tmp_path: Path, workers: int, request: pytest.FixtureRequest
):
    """SIGKILL wherever it falls: in an update, a checkpoint, a rotation; in mid-epoch, and with accumulation."""
    wanted = 10 if request.config.getoption("--slow") else 3
    settings = {"updates": 60, "batch_size": 1, "accumulation": 3, "checkpoint_every": 3, "workers": workers}
    config = configuration("killed", **settings)
    cli.save(config, tmp_path / "train.yaml")
    script = Path(__file__).parents[2] / "scripts" / "train.py"
    draw = numpy_generator(workers, "kills")
    log = Path(config.output) / "metrics.jsonl"
    kills = 0
    while True:
        process = subprocess.Popen(
            [sys.executable, script, "--config", tmp_path / "train.yaml"],
            env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that the kill takes its workers along
        )
        before = log.stat().st_mtime if log.exists() else 0
        while kills < wanted and process.poll() is None and not (log.exists() and log.stat().st_mtime > before):
            time.sleep(0.01)
        if kills == wanted:
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
def test_a_folder_that_cannot_be_written_to_is_named_before_anything_is_trained(configuration):
    config = configuration(updates=1)
    config.output = "/proc/siftvton/run"
    with pytest.raises(UsageError, match="/proc/siftvton/run: cannot be made a folder"):
        train(config)
