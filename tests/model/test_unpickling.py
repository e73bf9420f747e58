"""Checkpoints that hold more than tensors: honest ones load, hostile ones are refused and never run."""

import builtins
import os
import pickle
import sys
import types
import zipfile
from argparse import Namespace
from collections import OrderedDict, defaultdict
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from siftvton.errors import InputError
from siftvton.model.loading import read_checkpoint

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3).half()}


class Calls:
    """Pickles to a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


ATTACKS = {
    "os.system": Calls(os.system, "touch ran"),
    "builtins.eval": Calls(builtins.eval, "open('ran', 'w')"),
    "builtins.getattr": Calls(getattr, Path, "touch"),
    "nested in a config": Namespace(model={"target": [Calls(os.system, "touch ran")]}),
    "pathlib's method": Calls(Path.touch, Path("ran")),
    "a class with a call inside": defaultdict(list, x=Calls(exec, "open('ran', 'w')")),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_checkpoint_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": STATE, "hyper_parameters": ATTACKS[name]}, "hostile.ckpt")
    with pytest.raises(InputError, match=r"hostile\.ckpt: refused, nothing was run: it names "):
        read_checkpoint(Path("hostile.ckpt"))
    assert not Path("ran").exists()


def test_a_hostile_class_of_another_package_is_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "hostile_package.py").write_text("open('ran', 'w')\nclass Config: pass\n")
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("hostile_package")
    module.Config = type("Config", (), {"__module__": "hostile_package"})
    monkeypatch.setitem(sys.modules, "hostile_package", module)
    torch.save({"state_dict": STATE, "config": module.Config()}, "x.ckpt")
    monkeypatch.delitem(sys.modules, "hostile_package")
    monkeypatch.syspath_prepend(tmp_path)
    assert torch.equal(read_checkpoint(Path("x.ckpt"))["b"], STATE["b"])
    assert not Path("ran").exists()


def test_an_honest_lightning_checkpoint_with_configuration_objects_loads(tmp_path: Path):
    content = {
        "state_dict": OrderedDict(STATE),
        "epoch": 3,
        "hyper_parameters": OmegaConf.create({"model": {"target": "ldm.models", "sizes": [1, 2]}}),
        "callbacks": {"ModelCheckpoint": {"dirpath": Path("logs"), "best": torch.tensor(0.5)}},
        "arguments": Namespace(batch_size=4, sets={1, 2}),
        "types": [int, torch.float16],
    }
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(pickle.UnpicklingError):  # what makes the stubs worth their while
        torch.load(tmp_path / "x.ckpt", weights_only=True)
    read = read_checkpoint(tmp_path / "x.ckpt")
    assert list(read) == list(STATE)
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in STATE.items())


def test_tensors_that_share_memory_and_parameters_are_read(tmp_path: Path):
    base = torch.arange(8.0)
    torch.save({"whole": base, "part": base[2:6:2], "parameter": torch.nn.Parameter(base + 1)}, tmp_path / "x.ckpt")
    read = read_checkpoint(tmp_path / "x.ckpt")
    assert read["part"].tolist() == [2, 4]
    assert read["parameter"].tolist() == (base + 1).tolist()


def test_a_zip_that_would_grow_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", pickle.dumps({}))
        archive.writestr("bomb/data/0", bytes(1 << 22))
    with pytest.raises(InputError, match=r"bomb\.ckpt: .*compressed"):
        read_checkpoint(tmp_path / "bomb.ckpt")


def test_a_header_that_lies_about_sizes_is_refused(tmp_path: Path):
    torch.save({"state_dict": STATE}, tmp_path / "x.ckpt")
    content = bytearray((tmp_path / "x.ckpt").read_bytes())
    at = content.rindex(b"PK\x01\x02")  # the last entry of the directory: both sizes follow 20 bytes on
    content[at + 20 : at + 28] = (0xFFFFFF00).to_bytes(4, "little") * 2
    (tmp_path / "lies.ckpt").write_bytes(content)
    with pytest.raises(InputError, match=r"lies\.ckpt: .*claim to be larger"):
        read_checkpoint(tmp_path / "lies.ckpt")


def test_programs_and_bare_pickles_are_refused(tmp_path: Path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "program.ckpt"))
    with pytest.raises(InputError, match="TorchScript"):
        read_checkpoint(tmp_path / "program.ckpt")
    (tmp_path / "bare.ckpt").write_bytes(pickle.dumps(Calls(os.system, "touch ran")))
    with pytest.raises(InputError, match="zipped format"):
        read_checkpoint(tmp_path / "bare.ckpt")
