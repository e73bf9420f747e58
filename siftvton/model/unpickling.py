"""The tensors of a Lightning checkpoint, without running anything that the file names.

PyTorch's own safe reader refuses an honest checkpoint that also holds configuration objects. Here nothing but tensors
is rebuilt: a class or a function of another package is never imported, an inert stub stands in for it; one of
Python's own library, which is what a hostile pickle calls, makes the file refused.
"""

import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

# All that a state_dict needs; PyTorch adds its storages.
REBUILDERS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
}
# What configuration objects and training states hold of Python's own library; stubs stand in for these as well.
HARMLESS = {
    "argparse": {"Namespace"},
    "builtins": {"bool", "bytes", "bytearray", "complex", "dict", "float", "frozenset", "int", "list", "object", "set",
                 "slice", "str", "tuple", "range", "long", "unicode", "xrange"},  # the last three: Python 2's
    "collections": {"defaultdict", "Counter", "deque"},
    "copyreg": {"_reconstructor"},
    "datetime": {"date", "datetime", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "pathlib": {"Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"},
    "typing": {"Any", "Dict", "List", "Optional", "Tuple", "Union"},
    "uuid": {"UUID"},
}  # fmt: skip

PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # PyTorch pickles by protocol 2, which keeps old names


class Stub:
    """Takes whatever a pickle does to an object, and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> "Stub":
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        pass

    def extend(self, _: Any) -> None:
        pass

    def add(self, _: Any) -> None:
        pass


class TensorUnpickler(pickle.Unpickler):
    """Rebuilds tensors and plain containers; see the module's text for everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in REBUILDERS:
            return REBUILDERS[module, name]
        module = PYTHON_2.get(module, module)
        own_library = module.partition(".")[0] in sys.stdlib_module_names
        if own_library and name not in HARMLESS.get(module, ()):
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no checkpoint needs")
        return type(name.rpartition(".")[2], (Stub,), {})


def read_tensors(path: Path) -> Any:
    """A zipped checkpoint's content, its tensors memory-mapped, its other objects stubs.

    Raises:
        pickle.UnpicklingError: the file names what no checkpoint needs.
        ValueError: it is compressed, a program, or not of the zipped format.
        OSError, RuntimeError: it is damaged.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("not of PyTorch's zipped format")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(Path(entry.filename).name == "constants.pkl" for entry in entries):
        raise ValueError("a TorchScript program")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries):
        raise ValueError("compressed, which PyTorch never writes")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ValueError("its entries claim to be larger than the file")
    reader = SimpleNamespace(Unpickler=TensorUnpickler, __name__="siftvton.model.unpickling")
    return torch.load(path, map_location="cpu", mmap=True, weights_only=False, pickle_module=reader)
