"""Foreign networks that evaluation loads (Inception as TorchScript, AlexNet), and the exact maps of the toy world."""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from robustness.harness import Bench, Case, Finished, Verdict, judged
from robustness.mutations import IN_PLACE, flips, truncations
from torch import Tensor, nn


class Writes(nn.Module):
    """A program that overwrites a file when it is called."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, pictures: Tensor) -> Tensor:
        torch.from_file(self.path, True, 256, dtype=torch.float32).fill_(1.0)
        return pictures.mean(dim=[2, 3]).repeat(1, 683)[:, :2048]


class Loops(nn.Module):
    """A program that does not end."""

    def forward(self, pictures: Tensor) -> Tensor:
        while bool(pictures.sum() == pictures.sum()):
            pictures = pictures * 1
        return pictures


class Wraps(nn.Module):
    """The part of a network that clean-fid calls: its ``layers``."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(pictures)


def cases() -> Iterator[Case]:
    changes: dict[str, Callable[[bytes], bytes]] = {**truncations(6), **flips(8, bits=200)}
    changes |= {name: lambda _, content=content: content for name, content in IN_PLACE.items()}
    for name, change in changes.items():
        yield Case("networks of others", f"Inception: {name}", partial(_inception, change))
        yield Case("networks of others", f"AlexNet: {name}", partial(_alexnet, change))
        yield Case("exact maps", f"attention_error: {name}", partial(_map, "attention_error", change))
    for name in ("writes a file", "does not end", "of another name", "a pickle", "the allowed one", "a wrong digest"):
        yield Case("networks of others", f"Inception: {name}", partial(_foreign, name), limit=20)
    for name in ("a pickle that runs something", "other names", "other shapes", "a list", "NaN"):
        yield Case("networks of others", f"AlexNet: {name}", partial(_state, name))
    for name, content in _maps().items():
        for script in ("attention_error", "visualize_attention"):
            yield Case("exact maps", f"{script}: {name}", partial(_map, script, lambda _, content=content: content))
    yield Case("exact maps", "attention_error: an array that runs something", _hostile_map)


def _evaluate(bench: Bench, setting: str, *keys: str) -> Finished:
    results = (
        bench.world.results if setting == "unpaired" else bench.world.reference("paired", "infer", "setting=paired")
    )
    return bench.run("evaluate", f"setting={setting}", f"predictions.x={results}", *keys)


def _scored(bench: Bench, name: str) -> str:
    """Run evaluation with a changed file; it must not compute the metric with it."""
    scores = json.loads((bench.output / "metrics.json").read_text())["results"]["x"]["scores"]
    return f"{name} is {scores[name]}" if name in scores else ""


def _inception(change: Callable[[bytes], bytes], bench: Bench) -> Verdict:
    path = bench.copy("inception")
    path.write_bytes(change(path.read_bytes()))
    return judged(_evaluate(bench, "unpaired", f"inception={path}"), [path.name], lambda: _scored(bench, "fid"))


def _saved(path: Path, module: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns that TorchScript is deprecated
        torch.jit.script(module).save(str(path))
    return path


def _foreign(name: str, bench: Bench) -> Verdict:
    path = bench.inputs / "inception.pt"
    allowed = ""
    if name == "writes a file":
        _saved(path, Wraps(Writes(str(bench.canary))))
    elif name == "does not end":
        _saved(path, Wraps(Loops()))
    elif name == "of another name":
        _saved(path, nn.Linear(2, 2))
    elif name == "a pickle":
        torch.save(_runs(bench), path)
    else:
        bench.copy("inception")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        allowed = digest if name == "the allowed one" else digest[::-1]
    keys = [f"inception_sha256={allowed}"] if allowed else []
    finished = _evaluate(bench, "unpaired", f"inception={path}", *keys)
    if name == "the allowed one":
        return judged(finished, [path.name], lambda: "" if _scored(bench, "fid") else "not scored", refusable=False)
    return judged(finished, [path.name, "inception_sha256"], lambda: _scored(bench, "fid"))


def _runs(bench: Bench) -> object:
    command = f"touch '{bench.canary}'"

    class Runs:
        def __reduce__(self) -> tuple:
            return os.system, (command,)

    return Runs()


def _alexnet(change: Callable[[bytes], bytes], bench: Bench) -> Verdict:
    """PyTorch reads no check sum of weights. With flipped bits, LPIPS is scored and the digest shows the other file."""
    path = bench.copy("alexnet")
    path.write_bytes(change(path.read_bytes()))
    finished = _evaluate(bench, "paired", f"alexnet={path}")

    def told() -> str:
        said = json.loads((bench.output / "metrics.json").read_text())["metrics"]["lpips"]["weights"]
        whole = said["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() and not said["published"]
        return "" if whole else "scored as if by the published file"

    return judged(finished, [path.name], told)


def _state(name: str, bench: Bench) -> Verdict:
    path = bench.copy("alexnet")
    state = torch.load(path, weights_only=True)
    first = next(iter(state))
    content: object = {
        "a pickle that runs something": {**state, "x": _runs(bench)},
        "other names": {f"x.{key}": value for key, value in state.items()},
        "other shapes": {key: value[None] for key, value in state.items()},
        "a list": list(state.values()),
        "NaN": {**state, first: torch.full_like(state[first], float("nan"))},
    }[name]
    torch.save(content, path)
    return judged(_evaluate(bench, "paired", f"alexnet={path}"), [path.name, "lpips"], lambda: _scored(bench, "lpips"))


def _npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _maps() -> dict[str, bytes]:
    """Archives that hold no map; the name says what they hold instead."""
    whole = np.full((128, 96, 2), 40.0, np.float16)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        header = b"{'descr': '<f2', 'fortran_order': False, 'shape': (100000, 100000, 2), }"
        header = header.ljust(118 - 1) + b"\n"
        archive.writestr("person_to_garment.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    return {
        "another name": _npz(other=whole),
        "no third axis": _npz(person_to_garment=whole[..., 0]),
        "a third axis of three": _npz(person_to_garment=np.zeros((128, 96, 3), np.float16)),
        "no element": _npz(person_to_garment=whole[:0]),
        "a scalar": _npz(person_to_garment=np.float16(1)),
        "an array of text": _npz(person_to_garment=np.full((128, 96, 2), "x")),
        "truth values": _npz(person_to_garment=np.ones((128, 96, 2), bool)),
        "complex numbers": _npz(person_to_garment=whole.astype(np.complex64)),
        "infinity": _npz(person_to_garment=np.full_like(whole, np.inf)),
        "places far outside": _npz(person_to_garment=np.full((128, 96, 2), 1e30)),
        "a bomb": bomb.getvalue(),
        "a bare array": _bare(whole),
        "no array": _npz(),
    }


def _bare(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _map(script: str, change: Callable[[bytes], bytes], bench: Bench) -> Verdict:
    root = bench.copy("data")
    path = root / "test" / "exact_map" / "00000_00.npz"
    path.write_bytes(change(path.read_bytes()))
    return _measured(bench, script, root, path)


def _measured(bench: Bench, script: str, root: Path, path: Path) -> Verdict:
    """A truncated map or one of noise must be refused; visualize_attention does not read maps."""
    keys = [f"checkpoints.x={bench.world.model}"] if script == "visualize_attention" else []
    finished = bench.run(script, f"data.root={root}", *keys)

    def flaw() -> str:
        if script == "visualize_attention":
            return ""
        whole = bench.world.reference("attention", "attention_error")
        made, expected = ((folder / "attention_error.json").read_text() for folder in (bench.output, whole))
        return "" if made == expected else "measured by it"

    return judged(finished, [path.name, "exact_map", "out of memory"], flaw)


def _hostile_map(bench: Bench) -> Verdict:
    root = bench.copy("data")
    path = root / "test" / "exact_map" / "00000_00.npz"
    path.write_bytes(_npz(person_to_garment=np.array([_runs(bench)], dtype=object)))
    return _measured(bench, "attention_error", root, path)
