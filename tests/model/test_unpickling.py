"""Checkpoints that hold more than tensors: honest ones load, hostile ones are refused and never run."""

import builtins
import datetime
import enum
import functools
import io
import os
import pickle
import random
import resource
import sys
import types
import zipfile
from argparse import Namespace
from collections import OrderedDict, defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from siftvton.errors import InputError
from siftvton.model.unpickling import REBUILDERS, STORAGES, Stub
from siftvton.sampling.loading import read_checkpoint

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3).half()}


class Calls:
    """An object whose pickle calls a function."""

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
    with pytest.raises(InputError, match=r"hostile\.ckpt: refused \(the file names .*\); nothing was run; use "):
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
    with pytest.raises(pickle.UnpicklingError):  # PyTorch refuses it; the stubs are needed for this
        torch.load(tmp_path / "x.ckpt", weights_only=True)
    read = read_checkpoint(tmp_path / "x.ckpt")
    assert list(read) == list(STATE)
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in STATE.items())


def test_an_honest_training_state_with_numbers_of_numpy_loads(tmp_path: Path):
    class Phase(enum.Enum):
        LATE = "late"

    monkey = sys.modules[__name__]
    Phase.__qualname__ = "Phase"
    monkey.Phase = Phase
    content = {
        "state_dict": STATE,
        "best": np.float64(1.5),
        "steps": np.int64(3),
        "array": np.arange(3),
        "numpy": np.random.get_state(),
        "generator": np.random.default_rng(0),
        "python": random.getstate(),
        "torch": torch.get_rng_state(),
        "raw": b"\x00\xff",
        "began": datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc),
        "phase": Phase.LATE,
        "part": functools.partial(dict, a=1),
        "names": {frozenset({"a"}), ("b", 1)},
        ("tuple", 1): Fraction(1, 3),
    }
    for protocol in (2, 4):
        torch.save(content, tmp_path / "x.ckpt", pickle_protocol=protocol)
        read = read_checkpoint(tmp_path / "x.ckpt")
        assert list(read) == list(STATE)
        assert all(torch.equal(read[name], tensor) for name, tensor in STATE.items())


@pytest.mark.parametrize("dtype", [*set(STORAGES.values()), torch.float8_e4m3fn, torch.float8_e5m2])
def test_every_kind_of_number_is_read_as_pytorch_reads_it(tmp_path: Path, dtype: torch.dtype):
    tensor = torch.arange(12).reshape(3, 4).to(dtype)
    content = {"whole": tensor, "turned": tensor.T, "empty": torch.zeros(0, 3), "number": torch.tensor(2.5)}
    torch.save(content, tmp_path / "x.ckpt")
    read = read_checkpoint(tmp_path / "x.ckpt")
    for name, expected in torch.load(tmp_path / "x.ckpt", weights_only=True).items():
        assert (read[name].dtype, read[name].stride()) == (expected.dtype, expected.stride())
        assert torch.equal(read[name].to(torch.complex128), expected.to(torch.complex128))


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


class Storage:
    """An object that a pickle refers to as a storage."""

    def __init__(self, *identity: object) -> None:
        self.identity = identity


class ArchivePickler(pickle.Pickler):
    def persistent_id(self, value: object) -> object:
        return value.identity if isinstance(value, Storage) else None


def archive(path: Path, content: object, **entries: bytes) -> Path:
    """Write a checkpoint as PyTorch does, but with any ``content``."""
    if not isinstance(content, bytes):
        stream = io.BytesIO()
        ArchivePickler(stream, protocol=2).dump(content)
        content = stream.getvalue()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", content)
        for name, value in {"byteorder": b"little", "data_0": bytes(16), **entries}.items():
            file.writestr("x/" + name.replace("_", "/"), value)
    return path


FOUR = ("storage", torch.FloatStorage, "0", "cpu", 4)


def tensor(identity: object = FOUR, offset: object = 0, size: object = (4,), stride: object = (1,)) -> Calls:
    storage = Storage(*identity) if isinstance(identity, tuple) else identity
    return Calls(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, OrderedDict())


def test_the_archive_of_these_tests_is_honest(tmp_path: Path):
    """Each case below changes one thing in this archive."""
    assert torch.equal(read_checkpoint(archive(tmp_path / "x.ckpt", {"a": tensor()}))["a"], torch.zeros(4))


DAMAGED = {
    "no storage": tensor(None),
    "a number as storage": tensor(3),
    "a storage of another form": tensor(("storage", torch.FloatStorage, "0", "cpu")),
    "a storage of no kind": tensor(("storage", "float", "0", "cpu", 4)),
    "a storage that is not there": tensor(("storage", torch.FloatStorage, "1", "cpu", 4)),
    "a name that leaves the archive": tensor(("storage", torch.FloatStorage, "../byteorder", "cpu", 1)),
    "a storage shorter than it says": tensor(("storage", torch.FloatStorage, "0", "cpu", 5)),
    "a count below zero": tensor(("storage", torch.FloatStorage, "0", "cpu", -1)),
    "a size beyond the storage": tensor(size=(5,)),
    "a stride beyond the storage": tensor(size=(4,), stride=(2,)),
    "an offset beyond the storage": tensor(offset=1),
    "an offset below zero": tensor(offset=-1),
    "a size below zero": tensor(size=(-1,)),
    "a stride below zero": tensor(stride=(-1,)),
    "a size of a fraction": tensor(size=(1.5,)),
    "a size that is a truth": tensor(size=(True,)),
    "more sizes than strides": tensor(size=(2, 2)),
    "no size": tensor(size=None),
    "a terabyte of repeats": tensor(size=(2**40,), stride=(0,)),
    "beyond any count": tensor(size=(2**62, 2**62), stride=(0, 0)),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_tensor_outside_its_file_is_refused(tmp_path: Path, name: str):
    """Without checks, these cases read other memory, take terabytes or end in a traceback."""
    with pytest.raises(InputError, match=r"x\.ckpt: cannot be read as a checkpoint \(.*\); nothing was run$"):
        read_checkpoint(archive(tmp_path / "x.ckpt", {"a": tensor(), "b": DAMAGED[name]}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "refers to an object that is not a tensor storage"),
        (b"\x80\x02}(K\x01\x85\x85K\x02u.", "a dictionary key in it is not a plain value"),
        (b"\x80\x02c__builtin__\nset\n)R}b.", "does not hold a dictionary of tensors"),
        (b"\x80\x02", "ends too early"),
        (b"", "ends too early"),
        (b"\x80\x63.", "unsupported pickle protocol"),
        (b"\x80\x02(((((.", "cannot be read"),
        (b"\x80\x02h\x05.", "Memo value not found"),
        (b"\x80\x04\x96\xff\xff\xff\xff\xff\xff\xff\x3f.", "cannot be read"),
    ],
)
def test_a_meaningless_pickle_is_an_error_of_one_line(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(InputError, match=rf"x\.ckpt: .*{message}") as caught:
        read_checkpoint(archive(tmp_path / "x.ckpt", content))
    assert "\n" not in str(caught.value)


def test_a_memo_with_a_large_index_takes_no_memory(tmp_path: Path):
    """The unpickler in C takes 34 GB for this file of 300 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    path = archive(tmp_path / "x.ckpt", b"\x80\x02]r\xff\xff\xff\x7f.")
    try:
        resource.setrlimit(resource.RLIMIT_AS, (now + 2**30, hard))
        with pytest.raises(InputError, match="does not hold a dictionary of tensors"):
            read_checkpoint(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_a_pickle_cannot_change_the_functions_that_rebuild_it(tmp_path: Path):
    """The state of an object can set attributes on anything that the file names."""
    state = b"N}X\x0c\x00\x00\x00__defaults__NsX\x01\x00\x00\x00xK\x01s\x86b."
    read = {name: builder.__dict__.copy() for name, builder in REBUILDERS.items()}
    for module, name in [*REBUILDERS, ("anything", "Else")]:
        with pytest.raises(InputError):
            read_checkpoint(archive(tmp_path / "x.ckpt", f"c{module}\n{name}\n".encode() + state))
    assert read == {name: builder.__dict__ for name, builder in REBUILDERS.items()}
    assert not hasattr(Stub, "x")


@pytest.mark.parametrize("name", [3, None, ("a",)])
def test_the_name_of_a_tensor_must_be_text(tmp_path: Path, name: object):
    torch.save({"state_dict": {name: torch.ones(1)}}, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=r"x\.ckpt: does not hold a dictionary of tensors"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_a_tensor_of_another_layout_is_named(tmp_path: Path):
    torch.save({"state_dict": {"a": torch.ones(1), "odd.weight": torch.ones(2, 2).to_sparse()}}, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=r"x\.ckpt: .*odd\.weight is not a plain tensor"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_quantised_weights_are_named(tmp_path: Path):
    path = archive(tmp_path / "x.ckpt", {"a": tensor(("storage", torch.QInt8Storage, "0", "cpu", 4))})
    with pytest.raises(InputError, match=r"x\.ckpt: .*have an unknown data type and may be quantised"):
        read_checkpoint(path)


def test_a_pickle_with_any_byte_flipped_is_read_or_is_an_error_of_one_line(tmp_path: Path):
    content = archive(tmp_path / "x.ckpt", {"state_dict": {"a": tensor(), "b": tensor()}}).read_bytes()
    with zipfile.ZipFile(tmp_path / "x.ckpt") as file:
        pickled = file.read("x/data.pkl")
    begin, messages = content.index(pickled), []
    for place in range(begin, begin + len(pickled)):
        for flipped in (0x80, 0x01):
            changed = bytearray(content)
            changed[place] ^= flipped
            (tmp_path / "y.ckpt").write_bytes(changed)
            try:
                read_checkpoint(tmp_path / "y.ckpt")
            except InputError as error:
                messages.append(str(error))
    assert messages
    assert not any("\n" in message for message in messages)


def test_a_big_endian_checkpoint_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="big-endian"):
        read_checkpoint(archive(tmp_path / "x.ckpt", {"a": tensor()}, byteorder=b"big"))


def test_programs_and_bare_pickles_are_refused(tmp_path: Path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "program.ckpt"))
    with pytest.raises(InputError, match="TorchScript"):
        read_checkpoint(tmp_path / "program.ckpt")
    (tmp_path / "bare.ckpt").write_bytes(pickle.dumps(Calls(os.system, "touch ran")))
    with pytest.raises(InputError, match="not in PyTorch's zip format"):
        read_checkpoint(tmp_path / "bare.ckpt")
