"""Signals: a run saves and stops at any moment, and no process is left."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from runs import metrics, run, same_weights, validations

from siftvton.commands.train import train
from siftvton.commands.train_autoencoder import train_autoencoder
from siftvton.data.layouts.base import IMAGE
from siftvton.errors import InputError
from siftvton.settings import save_configuration
from siftvton.training import guards, validation
from siftvton.training.config import TrainAutoencoder
from siftvton.training.guards import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_saves_and_the_same_command_continues(configuration, tmp_path: Path, number):
    """Schedulers, ``timeout`` and terminals send signals to the process group, which includes the data workers."""
    config = configuration("stopped", updates=400, checkpoint_every=1000, workers=2)
    save_configuration(config, tmp_path / "train.yaml")
    script = Path(__file__).parents[2] / "scripts" / "train.py"
    process = subprocess.Popen(
        [sys.executable, script, "--config", tmp_path / "train.yaml"],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    log = Path(config.output) / "metrics.jsonl"
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.1)
    os.killpg(process.pid, number)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    done = len(metrics(Path(config.output)))
    assert f"stopped after update {done}; run the same command again to continue" in printed
    assert not (Path(config.output) / "model").exists()
    config.train.updates = done + 2
    resumed = run(config)
    straight = run(configuration("straight", updates=done + 2, checkpoint_every=1000))
    assert metrics(resumed) == metrics(straight)
    assert same_weights(resumed, straight)


@pytest.mark.parametrize(
    ("command", "step", "settings"),
    [(train, "loop.model_parts", None), (train_autoencoder, "autoencoder._untrained", TrainAutoencoder())],
)
def test_a_signal_during_the_loading_ends_with_one_line(configuration, monkeypatch, capsys, command, step, settings):
    monkeypatch.setattr(f"siftvton.training.{step}", lambda _: signal.raise_signal(signal.SIGTERM))
    config = settings or configuration()
    with pytest.raises(SystemExit) as stopped:
        command(config)
    assert stopped.value.code == 143
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].endswith(": stopped by SIGTERM; the same command continues from here")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path):
    program = """
import signal, sys, time
from siftvton.training.config import TrainAutoencoder
from siftvton.training.guards import stop_on_signals
with stop_on_signals() as request:
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert request.made
    print("continues", flush=True)
    signal.raise_signal(signal.SIGINT)
    print("still here", flush=True)
"""
    environment = {name: value for name, value in os.environ.items() if name != "TORCHELASTIC_RUN_ID"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (130, "continues\n")
    assert done.stderr == "stopped at once, without saving\n"


def test_a_ctrl_c_repeated_by_torchrun_is_not_a_second_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "run")
    monkeypatch.setattr(guards.os, "_exit", lambda code: pytest.fail("ended at once"))
    with stop_on_signals() as request:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert request.made


def test_a_validation_ended_by_a_stop_is_made_at_the_next_start(configuration, monkeypatch, capsys):
    straight = run(configuration("straight", updates=4, validate_every=2, batch_size=1, checkpoint_every=1000))
    config = configuration("stopped", updates=4, validate_every=2, batch_size=1, checkpoint_every=1000)
    plain = validation.generate

    def interrupted(*given):
        signal.raise_signal(signal.SIGTERM)
        return plain(*given)

    with monkeypatch.context() as patched:
        patched.setattr(validation, "generate", interrupted)
        output = run(config)
    assert "stopped after update 2; run the same command again to continue" in capsys.readouterr().out
    assert [path.name for path in (output / "checkpoints").iterdir()] == ["update-0000002"]
    assert validations(output) == [] if (output / "validation.jsonl").exists() else True
    run(config)
    assert validations(output) == validations(straight)
    assert metrics(output) == metrics(straight)
    assert same_weights(output, straight)


def test_after_a_stop_at_the_last_update_the_next_start_validates_and_writes_the_model(configuration, monkeypatch):
    config = configuration(updates=2, validate_every=2)

    def stopped(number: int, warmup: int, decay_end: int | None = None) -> float:
        if number == 1:
            signal.raise_signal(signal.SIGTERM)
        return 1.0

    with monkeypatch.context() as patched:
        patched.setattr("siftvton.training.loop.learning_rate_factor", stopped)
        output = run(config)
    assert not (output / "model").exists()
    run(config)
    assert (output / "model").is_dir()
    assert [entry["update"] for entry in validations(output)] == [2]


def test_an_error_in_a_worker_ends_the_run(configuration, tmp_path: Path):
    """At exit, Python waits for workers that are left after an error, and they ignore its SIGTERM."""
    config = configuration(updates=400, workers=2)
    shutil.copytree(config.data.root, tmp_path / "data")
    config.data.root = str(tmp_path / "data")
    for path in (tmp_path / "data" / "train" / IMAGE).iterdir():
        path.write_bytes(path.read_bytes()[:100])
    save_configuration(config, tmp_path / "train.yaml")
    script = Path(__file__).parents[2] / "scripts" / "train.py"
    launch = [sys.executable, script, "--config", tmp_path / "train.yaml"]
    done = subprocess.run(launch, capture_output=True, text=True, timeout=120)
    assert done.returncode == InputError.exit_code
    assert "cannot be decoded" in done.stderr.splitlines()[-1]
