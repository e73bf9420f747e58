"""Broken files in the output folder of train.py: checkpoints, logs and the saved configuration, one at a time."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from robustness.harness import Bench, Case, Finished, Verdict, judged
from robustness.mutations import IN_PLACE, flips, json_changes, key_changes, truncations
from safetensors.torch import load_file

NEWEST = "checkpoints/update-0000002"
BINARY = ("model.safetensors", "model_1.safetensors", "optimizer.bin", "random_states_0.pkl")
PROGRESS = {"update": 2, "images": 1, "best": None}
METRICS = {"update": 1, "loss": 0.5}
LOG_LINES = {
    "cut": '{"upd',
    "a list": "[1]",
    "a number": "3",
    "null": "null",
    "without update": '{"loss": 1}',
    "update as text": '{"update": "x"}',
    "update as NaN": '{"update": NaN}',
    "nested too deep": "[" * 100_000,
    "a byte that is not UTF-8": "\udcff",
    "a NUL": "\0",
}
KIND = "run folders"


def cases() -> Iterator[Case]:
    for name in BINARY[:3]:
        for change, edit in {**truncations(3), **flips(3, bits=400)}.items():
            yield Case(KIND, f"{name}: {change}", partial(_resumed, f"{NEWEST}/{name}", edit))
        for change, content in IN_PLACE.items():
            yield Case(KIND, f"{name}: {change}", partial(_resumed, f"{NEWEST}/{name}", lambda _, c=content: c))
    for change, content in key_changes(PROGRESS, turns=2):
        data = json.dumps(content).encode()
        yield Case(KIND, f"progress.json: {change}", partial(_resumed, f"{NEWEST}/progress.json", lambda _, d=data: d))
    for change, data in json_changes(PROGRESS):
        yield Case(KIND, f"progress.json: {change}", partial(_resumed, f"{NEWEST}/progress.json", lambda _, d=data: d))
    for change, line in LOG_LINES.items():
        yield Case(KIND, f"metrics.jsonl: {change}", partial(_log, line))
    for change, content in {**IN_PLACE, "a list": b"- a\n", "no rights to it": b""}.items():
        yield Case(KIND, f"train.yaml: {change}", partial(_resumed, "train.yaml", lambda _, c=content: c))
    for change in FOLDERS:
        yield Case(KIND, change, partial(_folder, change))
    for name in ("optimizer.bin", "random_states_0.pkl"):
        yield Case(KIND, f"{name} that runs something", partial(_hostile, name))


def _train(bench: Bench, *keys: str) -> Finished:
    return bench.run("train", f"data.matches={bench.world.matches}", "train.updates=3", *keys)


def _prepared(bench: Bench) -> Path:
    """A copy of the run after two updates, as the output folder, without the model that it wrote."""
    shutil.copytree(bench.world.run, bench.output)
    saved = bench.output / "train.yaml"
    saved.write_text(saved.read_text().replace(str(bench.world.run), str(bench.output)))
    shutil.rmtree(bench.output / "model")
    return bench.output


def _difference(bench: Bench) -> str:
    """How the run differs from the undisturbed one, or an empty text."""
    whole = bench.world.longer_run
    for path in (whole / "model").rglob("*.safetensors"):
        ours, theirs = load_file(bench.output / path.relative_to(whole)), load_file(path)
        if any(not torch.equal(ours[name], value) for name, value in theirs.items()):
            return f"{path.relative_to(whole)} differs from the undisturbed run's"
    if (bench.output / "metrics.jsonl").read_bytes() != (whole / "metrics.jsonl").read_bytes():
        return "metrics.jsonl differs from the undisturbed run's"
    return ""


def _resumed(name: str, change: Callable[[bytes], bytes], bench: Bench) -> Verdict:
    path = _prepared(bench) / name
    if not path.exists():
        return judged(_train(bench), [], lambda: _difference(bench))
    path.write_bytes(change(path.read_bytes()))
    return judged(_train(bench), [path.name, path.parent.name], lambda: _difference(bench))


def _log(line: str, bench: Bench) -> Verdict:
    """Put a broken line before the valid ones."""
    path = _prepared(bench) / "metrics.jsonl"
    path.write_bytes(line.encode(errors="surrogateescape") + b"\n" + path.read_bytes())
    return judged(_train(bench), [path.name], lambda: _difference(bench))


def _hostile(name: str, bench: Bench) -> Verdict:
    class Runs:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch '{bench.canary}'",)

    path = _prepared(bench) / NEWEST / name
    torch.save(Runs(), path)
    return judged(_train(bench), [path.parent.name], lambda: _difference(bench))


def _as_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("x")


def _as_link(output: Path, name: str) -> None:
    """Move the folder to another disk and put a link in its place."""
    other = output.parent / "other disk" / name
    other.mkdir(parents=True)
    (output / name).symlink_to(other)


# Changes to the folder. Each run must end like the undisturbed one or be refused.
FOLDERS: dict[str, Callable[[Path], object]] = {
    "no newest checkpoint": lambda out: shutil.rmtree(out / NEWEST),
    "a file in place of the newest checkpoint": lambda out: _as_file(out / NEWEST),
    "a file in place of the checkpoints": lambda out: _as_file(out / "checkpoints"),
    "an empty newest checkpoint": lambda out: (shutil.rmtree(out / NEWEST), (out / NEWEST).mkdir()),
    "no optimizer": lambda out: (out / NEWEST / "optimizer.bin").unlink(),
    "no weights": lambda out: (out / NEWEST / "model.safetensors").unlink(),
    "no progress": lambda out: (out / NEWEST / "progress.json").unlink(),
    "no train.yaml": lambda out: (out / "train.yaml").unlink(),
    "a checkpoint that was being written": lambda out: shutil.copytree(
        out / NEWEST, out / "checkpoints/.update-0000003"
    ),
    "a checkpoint with another number": lambda out: shutil.copytree(out / NEWEST, out / "checkpoints/update-0000009"),
    "a checkpoint with no number": lambda out: shutil.copytree(out / NEWEST, out / "checkpoints/update-x"),
    "another update's weights": lambda out: shutil.copy2(
        out / "checkpoints/update-0000001/model.safetensors", out / NEWEST / "model.safetensors"
    ),
    "another update's checkpoint": lambda out: (
        shutil.rmtree(out / NEWEST),
        shutil.copytree(out / "checkpoints/update-0000001", out / NEWEST),
    ),
    "model is a link": lambda out: _as_link(out, "model"),
    "model is a dangling link": lambda out: (out / "model").symlink_to(out / "nowhere"),
    "model is a file": lambda out: (out / "model").write_text("x"),
    "metrics.jsonl is a folder": lambda out: ((out / "metrics.jsonl").unlink(), (out / "metrics.jsonl").mkdir()),
    "train.yaml is a folder": lambda out: ((out / "train.yaml").unlink(), (out / "train.yaml").mkdir()),
    "validation.jsonl of noise": lambda out: (out / "validation.jsonl").write_bytes(IN_PLACE["noise"]),
}


def _folder(change: str, bench: Bench) -> Verdict:
    FOLDERS[change](_prepared(bench))
    if change == "model is a link":
        return judged(_train(bench), ["model"], lambda: _difference(bench), refusable=False)
    return judged(_train(bench), [str(bench.output), "resume"], lambda: _difference(bench))
