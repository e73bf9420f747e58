"""Published checkpoints: honest files with more than tensors, hostile pickles, damaged archives."""

from __future__ import annotations

import argparse
import builtins
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import torch
from omegaconf import OmegaConf
from robustness.harness import Bench, Case, Verdict, judged, judged_call
from robustness.mutations import IN_PLACE, flips, truncations
from safetensors.torch import save_file

from siftvton.errors import InputError
from siftvton.sampling.loading import read_checkpoint

STATE = OrderedDict({"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3).half()})
KIND = "published checkpoints"


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


class Sets:
    """An object whose pickle has a state that runs code when it is set."""

    def __init__(self, call: Calls) -> None:
        self.call = call

    def __reduce__(self) -> tuple:
        return argparse.Namespace, (), {"x": self.call}


# Objects that training frameworks store beside the weights; they must not prevent reading.
HONEST: dict[str, Any] = {
    "nothing": {},
    "epochs": {"epoch": 3, "global_step": 17, "pytorch-lightning_version": "1.9.0"},
    "OmegaConf": {"hyper_parameters": OmegaConf.create({"target": "ldm.models", "sizes": [1, 2]})},
    "Namespace": {"args": argparse.Namespace(batch_size=4, names={"a", "b"})},
    "NumPy scalars": {"best": np.float64(0.5), "seed": np.int64(3), "flag": np.bool_(True)},
    "NumPy arrays": {"history": np.arange(5.0), "names": np.array(["a", "b"])},
    "RNG states": {
        "torch": torch.get_rng_state(),
        "numpy": np.random.RandomState(0).get_state(),
        "generator": np.random.default_rng(0),
        "python": (3, (1, 2, 3), None),
    },
    "dtypes": {"dtype": torch.float16, "device": torch.device("cpu"), "size": torch.Size([1, 2]), "types": [int, str]},
    "containers": {"a": defaultdict(list, x=[1]), "b": Counter("aab"), "c": deque([1]), "d": frozenset({1}), "e": {1}},
    "times": {"start": datetime(2024, 1, 1), "length": timedelta(1), "price": Decimal("1.5"), "id": UUID(int=1)},
    "paths": {"dirpath": Path("logs/a")},
    "numbers": {"complex": 1j, "range": range(3), "slice": slice(1, 2), "bytes": b"x", "array": bytearray(b"x")},
    "exceptions": {"last": KeyError("x")},
    "optimizer": {"optimizer_states": [torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))]).state_dict()]},
    "parameters": {"extra": torch.nn.Parameter(torch.ones(2))},
    "a module": {"module": torch.nn.Linear(2, 2)},
    "deep": {"deep": [[[[[[1]]]]]]},
}


def _hostile(canary: str) -> dict[str, Any]:
    touch = f"touch '{canary}'"
    python = f"open({canary!r}, 'w').close()"
    return {
        "os.system": Calls(os.system, touch),
        "builtins.eval": Calls(builtins.eval, python),
        "builtins.exec": Calls(builtins.exec, python),
        "builtins.getattr": Calls(builtins.getattr, Path, "touch"),
        "builtins.__import__": Calls(builtins.__import__, "os"),
        "builtins.open": Calls(builtins.open, canary, "w"),
        "subprocess.Popen": Calls(subprocess.Popen, ["touch", canary]),
        "subprocess.check_output": Calls(subprocess.check_output, ["touch", canary]),
        "Path.touch": Calls(Path.touch, Path(canary)),
        "io.open": Calls(io.open, canary, "w"),
        "torch.load": Calls(torch.load, canary),
        "torch.save": Calls(torch.save, {}, canary),
        "torch.hub.load": Calls(torch.hub.load, "evil/repository", "model"),
        "torch.jit.load": Calls(torch.jit.load, canary),
        "numpy.load": Calls(np.load, canary),
        "numpy.save": Calls(np.save, canary, np.ones(1)),
        "pickle.loads": Calls(pickle.loads, pickle.dumps(Calls(os.system, touch))),
        "sys.exit": Calls(sys.exit, 0),
        "sys.setrecursionlimit": Calls(sys.setrecursionlimit, 10),
        "in a list": [Calls(os.system, touch)],
        "as a key": {Calls(os.system, touch): 1},
        "in a Namespace": argparse.Namespace(target=[Calls(os.system, touch)]),
        "in a state": Sets(Calls(os.system, touch)),
        "in a default": defaultdict(list, x=Calls(os.system, touch)),
        "in a partial": partial(os.system, touch),
    }


# Pickle programs that no pickler writes; they must end in an error of one line.
PROGRAMS: dict[str, bytes] = {
    "a persistent id that is text": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "a persistent id of nothing": b"\x80\x02NQ.",
    "a persistent id of a short tuple": b"\x80\x02X\x07\x00\x00\x00storage\x85Q.",
    "a memo of 2^31 slots": b"\x80\x02]r\xff\xff\xff\x7f.",
    "a memo that is not there": b"\x80\x02h\x05.",
    "nothing on the stack": b"\x80\x02.",
    "a mark that is not there": b"\x80\x02t.",
    "an extension": b"\x80\x02\x82\x01.",
    "protocol 99": b"\x80\x63N.",
    "text of 4 GB": b"\x80\x02X\xff\xff\xff\xffa.",
    "a negative length": b"\x80\x02T\xff\xff\xff\xffa.",
    "an unknown opcode": b"\x80\x02\xff.",
    "a tensor without storage": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n"
    + pickle.dumps((None, 0, (1,), (1,), False, None), 2)[2:-1]
    + b"R.",
    "a tensor of no arguments": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
    "a size of text": b"\x80\x02ctorch\nSize\nX\x01\x00\x00\x00a\x85R.",
    "an OrderedDict of a number": b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.",
    "a build on a number": b"\x80\x02K\x01}b.",
    "a dotted name": b"\x80\x04\x8c\x05torch\x8c\x0enn.Module.load\x93.",
    "a name with a line break": b"\x80\x04\x8c\x05torch\x8c\x03a\nb\x93.",
    "a list of itself": b"\x80\x02]q\x00h\x00a.",
    "a million lists": b"\x80\x02" + b"]" * 10**6 + b".",
    "a million dictionaries in one another": b"\x80\x02" + b"}" * 10**5 + b"N" + b"a" * 10 + b".",
}
CONTENTS: dict[str, Any] = {
    "a list": [torch.ones(1)],
    "a tensor": torch.ones(1),
    "nothing": {},
    "no weights": {"epoch": 3},
    "weights that are a list": {"state_dict": [torch.ones(1)]},
    "weights that are null": {"state_dict": None},
    "weights of numbers": {"state_dict": {"a": 1}},
    "names that are numbers": {"state_dict": {1: torch.ones(1)}},
    "names that are tuples": {"state_dict": {("a",): torch.ones(1)}},
    "a name that is null": {"state_dict": {None: torch.ones(1)}},
    "a long name": {"state_dict": {"a" * 100_000: torch.ones(1)}},
    "a sparse tensor": {"state_dict": {"a": torch.eye(2).to_sparse()}},
    "a meta tensor": {"state_dict": {"a": torch.ones(2, device="meta")}},
    "another model": {"state_dict": dict(STATE)},
}


def cases() -> Iterator[Case]:
    for name, beside in HONEST.items():
        yield Case(KIND, f"with {name}", partial(_honest, beside))
    for name in _hostile("x"):
        for place in ("beside", "among"):
            yield Case(KIND, f"{name} {place} the weights", partial(_attack, name, place))
    for name, program in PROGRAMS.items():
        yield Case(KIND, name, partial(_program, program), limit=20)
    for name, content in CONTENTS.items():
        yield Case(KIND, f"of {name}", partial(_content, content))
    for name, change in {**truncations(12), **flips(24, bits=8)}.items():
        yield Case(KIND, name, partial(_damaged, change))
    for name, content in IN_PLACE.items():
        for suffix in (".ckpt", ".safetensors", ".pt"):
            yield Case(KIND, f"{name} as {suffix}", partial(_in_place, content, suffix))
    for name in ARCHIVES:
        yield Case(KIND, name, partial(_archive, name))
    for suffix in (".ckpt", ".safetensors", ".txt", ""):
        yield Case(KIND, f"a folder called model{suffix}", partial(_folder, suffix))


def _refused_by_script(bench: Bench, path: Path) -> Verdict:
    """Run convert_checkpoint on a file."""
    return judged(bench.run("convert_checkpoint", f"input={path}"), [path.name])


def _read(path: Path, expected: dict[str, torch.Tensor]) -> str:
    found = read_checkpoint(path)
    same = list(found) == list(expected) and all(
        found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in expected.items()
    )
    return "" if same else "other tensors are read"


def _honest(beside: dict[str, Any], bench: Bench) -> Verdict:
    path = bench.inputs / "x.ckpt"
    torch.save({"state_dict": STATE, **beside}, path)
    return judged_call(lambda: _read(path, STATE), InputError, [path.name], refusable=False)


def _attack(name: str, place: str, bench: Bench) -> Verdict:
    """The file must be refused, or its tensors must be read without calling anything beside them."""
    attack = _hostile(str(bench.canary))[name]
    path = bench.inputs / "x.ckpt"
    torch.save({"state_dict": {**STATE, "x": attack}} if place == "among" else {"state_dict": STATE, "x": attack}, path)
    if place == "among":
        return _refused_by_script(bench, path)
    return judged_call(lambda: _read(path, STATE), InputError, [path.name])


def _zipped(path: Path, program: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", program)
        archive.writestr("x/version", "3\n")
        archive.writestr("x/byteorder", "little")
        archive.writestr("x/data/0", bytes(64))
    return path


def _program(program: bytes, bench: Bench) -> Verdict:
    return _refused_by_script(bench, _zipped(bench.inputs / "x.ckpt", program))


def _content(content: Any, bench: Bench) -> Verdict:
    torch.save(content, bench.inputs / "x.ckpt")
    return _refused_by_script(bench, bench.inputs / "x.ckpt")


def _damaged(change: Callable[[bytes], bytes], bench: Bench) -> Verdict:
    """PyTorch reads no check sum of weights. A file with flipped bits may be read, but must have every name."""
    path = bench.inputs / "x.ckpt"
    torch.save({"state_dict": STATE, "epoch": 3}, path)
    path.write_bytes(change(path.read_bytes()))

    def shapes() -> str:
        found = {name: value.shape for name, value in read_checkpoint(path).items()}
        return "" if len(found) == len(STATE) else f"read as {found}"

    return judged_call(shapes, InputError, [path.name])


def _in_place(content: bytes, suffix: str, bench: Bench) -> Verdict:
    return _refused_by_script(bench, bench.file(f"model{suffix}", content))


ARCHIVES = (
    "compressed", "sizes that lie", "TorchScript", "an old tar file", "a bare pickle", "a bare hostile pickle",
    "legacy format", "two programs", "no program", "a name of the parent folder", "an entry twice",
    "big-endian", "safetensors called .ckpt", "a checkpoint called .safetensors", "a zip of pictures",
)  # fmt: skip


def _archive(name: str, bench: Bench) -> Verdict:
    path = bench.inputs / ("x.safetensors" if name.endswith(".safetensors") else "x.ckpt")
    hostile = Calls(os.system, f"touch '{bench.canary}'")
    if name == "compressed":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x/data.pkl", pickle.dumps({}))
            archive.writestr("x/data/0", bytes(1 << 22))
    elif name == "sizes that lie":
        torch.save({"state_dict": STATE}, path)
        content = bytearray(path.read_bytes())
        at = content.rindex(b"PK\x01\x02")
        content[at + 20 : at + 28] = (0xFFFFFF00).to_bytes(4, "little") * 2
        path.write_bytes(content)
    elif name == "TorchScript":
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    elif name == "an old tar file":
        path.write_bytes(b"sys_info" + bytes(504) + bytes(1024))
    elif name == "a bare pickle":
        path.write_bytes(pickle.dumps({"state_dict": {"a": 1}}))
    elif name == "a bare hostile pickle":
        path.write_bytes(pickle.dumps(hostile))
    elif name == "legacy format":
        torch.save({"state_dict": STATE, "x": hostile}, path, _use_new_zipfile_serialization=False)
    elif name in ("two programs", "no program", "a name of the parent folder", "an entry twice", "big-endian"):
        names = {"two programs": ["x/data.pkl", "y/data.pkl"], "no program": ["x/other"],
                 "a name of the parent folder": ["x/../../data.pkl"],
                 "an entry twice": ["x/data.pkl", "x/data.pkl"]}.get(name, ["x/data.pkl"])  # fmt: skip
        with zipfile.ZipFile(path, "w") as archive:
            for entry in names:
                archive.writestr(entry, pickle.dumps(hostile if name != "big-endian" else {}, 2))
            archive.writestr("x/byteorder", "big")
            archive.writestr("x/version", "3\n")
    elif name == "safetensors called .ckpt":
        save_file(STATE, path)
    elif name == "a checkpoint called .safetensors":
        torch.save({"state_dict": STATE}, path)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.jpg", b"\xff\xd8")
    return _refused_by_script(bench, path)


def _folder(suffix: str, bench: Bench) -> Verdict:
    folder = bench.inputs / f"model{suffix}"
    folder.mkdir()
    return _refused_by_script(bench, folder)
