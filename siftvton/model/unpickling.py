"""The tensors of a Lightning checkpoint, without running anything that the file names.

PyTorch's own safe reader refuses an honest checkpoint that also holds configuration objects. Here nothing but tensors
is rebuilt, and each is checked against the bytes that are there. A class or a function of another package is never
imported: an inert stub stands in for it. One of Python's own library, which is what a hostile pickle calls, makes the
file refused, unless it is a plain value's.
"""

import io
import math
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

# What configuration objects and training states hold of Python's own library; stubs stand in for these as well.
HARMLESS = {
    "_codecs": {"encode"},  # how protocol 2 writes bytes, which NumPy's numbers and random states hold
    "argparse": {"Namespace"},
    "array": {"_array_reconstructor", "array"},
    "builtins": {"bool", "bytes", "bytearray", "complex", "dict", "float", "frozenset", "int", "list", "object", "set",
                 "slice", "str", "tuple", "range", "long", "unicode", "xrange"},  # the last three: Python 2's
    "codecs": {"encode"},
    "collections": {"defaultdict", "Counter", "deque"},
    "copyreg": {"_reconstructor", "__newobj__", "__newobj_ex__"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "functools": {"partial"},
    "logging": {"Logger", "getLogger"},
    "pathlib": {"Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"},
    "pathlib._local": {"Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"},
    "random": {"Random"},
    "time": {"struct_time"},
    "types": {"SimpleNamespace"},
    "typing": {"Any", "Dict", "List", "Optional", "Tuple", "Union"},
    "uuid": {"UUID"},
    "zoneinfo": {"ZoneInfo", "ZoneInfo._unpickle"},
}  # fmt: skip
PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # PyTorch pickles by protocol 2, which keeps old names

# PyTorch's names of what its storages hold; an untyped one is counted in bytes.
STORAGES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "ShortStorage": torch.int16,
    "UntypedStorage": torch.uint8,
}
NEW_DTYPES = {  # the numbers that PyTorch keeps in untyped storages
    name: getattr(torch, name) for name in ("float8_e4m3fn", "float8_e5m2", "uint16", "uint32", "uint64")
}
LOCAL_HEADER = 30  # bytes before the name of an entry, by the zip format
REPEATED = 2**20  # elements that a tensor may have by repeating fewer, with strides of 0

# What a damaged or hostile pickle raises on its way through Python's own unpickler, beside its own error.
BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)


class Stub:
    """Takes whatever a pickle does to an object, and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> "Stub":
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        pass

    def extend(self, _: Any) -> None:
        pass


@dataclass(frozen=True)
class Storage:
    """A stretch of the file."""

    content: torch.UntypedStorage
    dtype: torch.dtype


# The library's unpickler in Python. The one in C takes as much memory as a file's numbers say, before it reads on.
PlainUnpickler: Any = pickle._Unpickler


class TensorUnpickler(PlainUnpickler):
    """Rebuilds tensors and plain containers; see the module's text for everything else."""

    def __init__(self, content: bytes, storage: Callable[[str], torch.UntypedStorage]) -> None:
        """``storage`` gives the bytes that an entry of the archive holds."""
        super().__init__(io.BytesIO(content), encoding="utf-8")
        self.storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in STORAGES:
            return STORAGES[name]
        if module == "torch" and name in NEW_DTYPES:
            return NEW_DTYPES[name]
        if (module, name) in REBUILDERS:
            return REBUILDERS[module, name]
        module = PYTHON_2.get(module, module)
        own_library = module.partition(".")[0] in sys.stdlib_module_names
        if own_library and name not in HARMLESS.get(module, ()):
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no checkpoint needs")
        return Stub

    def persistent_load(self, identity: Any) -> Storage:
        if not isinstance(identity, tuple) or len(identity) != 5 or identity[0] != "storage":
            raise ValueError("it refers to something that is no storage of numbers")
        _, dtype, key, _, count = identity
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or not _is_count(count):
            raise ValueError("its numbers are of an unknown type, perhaps quantised")
        content = self.storage(key)
        if count * dtype.itemsize > content.nbytes():
            raise ValueError(f"its storage {key} is shorter than it says")
        return Storage(content, dtype)

    # Sets and attributes hold no tensors. Hashing what a file nests, or setting attributes on what a file names, would
    # let it end or change this process.

    def load_empty_set(self) -> None:
        self.append(Stub())

    def load_frozenset(self) -> None:
        self.pop_mark()
        self.append(Stub())

    def load_additems(self) -> None:
        self.pop_mark()

    def load_build(self) -> None:
        self.stack.pop()

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append(_dictionary(dict, zip(items[::2], items[1::2], strict=True)))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1][_key(key)] = value

    def load_setitems(self) -> None:
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.stack[-1][_key(key)] = value

    dispatch: ClassVar[dict[int, Callable]] = {
        **PlainUnpickler.dispatch,
        pickle.EMPTY_SET[0]: load_empty_set,
        pickle.FROZENSET[0]: load_frozenset,
        pickle.ADDITEMS[0]: load_additems,
        pickle.BUILD[0]: load_build,
        pickle.DICT[0]: load_dict,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
    }


def _key(key: Any) -> Any:
    """``key`` if a dictionary may have it: a plain value, or a tuple of some."""
    plain = (str, int, float, bool, bytes, type(None), Stub, torch.dtype)
    if type(key) in plain or (type(key) is tuple and all(type(each) in plain for each in key)):
        return key
    raise ValueError("a key of a dictionary in it is no plain value")


def _dictionary(kind: type, items: Iterable[tuple[Any, Any]]) -> Any:
    result = kind()
    for key, value in items:
        result[_key(key)] = value
    return result


def _ordered(items: Iterable[tuple[Any, Any]] = ()) -> Any:
    return _dictionary(OrderedDict, items)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _tensor(storage: Any, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any) -> Tensor:
    """What PyTorch's ``_rebuild_tensor_v2`` makes, within the storage's bounds."""
    return _view(storage, getattr(storage, "dtype", None), offset, size, stride)


def _tensor_of(storage: Any, offset: int, size: Sequence[int], stride: Sequence[int], *rest: Any) -> Tensor:
    """What PyTorch's ``_rebuild_tensor_v3`` makes, of a dtype that has no storage of its own."""
    _, _, dtype, *_ = rest  # after whether a gradient is required, and its hooks
    return _view(storage, dtype, offset, size, stride)


def _view(storage: Any, dtype: Any, offset: int, size: Sequence[int], stride: Sequence[int]) -> Tensor:
    """A tensor of ``size`` and ``stride``, in elements, from element ``offset`` of a storage on."""
    if not isinstance(storage, Storage) or not isinstance(dtype, torch.dtype):
        raise ValueError("a tensor in it has no storage, or an unknown type")
    if len(size) != len(stride) or not all(map(_is_count, (offset, *size, *stride))):
        raise ValueError("a tensor in it has a size, a stride or an offset that is no count")
    count = math.prod(size)
    if not count:
        return torch.empty(0, dtype=dtype).reshape(size)
    if count > max(storage.content.nbytes() // dtype.itemsize, REPEATED):
        raise ValueError("a tensor in it is larger than its storage")
    return torch.empty(0, dtype=dtype).set_(storage.content, offset, size, stride)  # refuses what lies outside


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


# All that a state_dict needs, beside PyTorch's storages.
REBUILDERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _ordered,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
}


class _Archive:
    """A checkpoint as ``torch.save`` writes it: a zip of uncompressed entries, mapped into memory."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            ValueError: it is compressed, a program, or not of the zipped format.
            OSError: it cannot be read.
        """
        try:
            if not zipfile.is_zipfile(path):
                raise ValueError("not of PyTorch's zipped format; save it again with PyTorch 1.6 or newer")
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
        except (MemoryError, RuntimeError, struct.error, zipfile.BadZipFile) as error:
            raise ValueError(f"a damaged archive: {error}") from error
        size = path.stat().st_size
        if any(Path(entry.filename).name == "constants.pkl" for entry in entries):
            raise ValueError("a TorchScript program")
        if any(
            entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries
        ):
            raise ValueError("compressed, which PyTorch never writes")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("its entries claim to be larger than the file")
        self.content = torch.UntypedStorage.from_file(str(path), shared=False, nbytes=size)
        self.entries = {entry.filename.partition("/")[2]: entry for entry in entries}  # without the archive's name
        if "data.pkl" not in self.entries:
            raise ValueError("without the entry data.pkl, so not written by PyTorch")
        if "byteorder" in self.entries and self.read("byteorder") != b"little":
            raise ValueError("written on a big-endian machine")

    def read(self, name: str) -> bytes:
        return _bytes(self.storage(name))

    def storage(self, name: str) -> torch.UntypedStorage:
        """An entry's bytes, which are not read yet.

        Raises:
            ValueError: there is no such entry, or it does not lie within the file.
        """
        if name not in self.entries:
            raise ValueError(f"its entry {name} is missing")
        entry = self.entries[name]
        header = _bytes(self.content[entry.header_offset : entry.header_offset + LOCAL_HEADER])
        if len(header) != LOCAL_HEADER or not header.startswith(b"PK\x03\x04"):
            raise ValueError(f"its entry {name} is damaged")
        names = sum(struct.unpack("<HH", header[-4:]))  # the lengths of its name and of its extra field
        begin = entry.header_offset + LOCAL_HEADER + names
        if begin + entry.file_size > self.content.nbytes():
            raise ValueError(f"its entry {name} ends beyond the file")
        return self.content[begin : begin + entry.file_size]


def _bytes(storage: torch.UntypedStorage) -> bytes:
    return torch.empty(0, dtype=torch.uint8).set_(storage).numpy().tobytes()


def read_tensors(path: Path) -> Any:
    """A zipped checkpoint's content, its tensors memory-mapped, its other objects stubs.

    Raises:
        pickle.UnpicklingError: the file names what no checkpoint needs.
        ValueError: it is damaged, compressed, a program, or not of the zipped format.
        OSError: it cannot be read.
    """
    try:
        archive = _Archive(path)
        return TensorUnpickler(archive.read("data.pkl"), lambda key: archive.storage(f"data/{key}")).load()
    except EOFError as error:
        raise ValueError("its pickle ends too early") from error
    except BROKEN as error:
        raise ValueError(str(error) or type(error).__name__) from error
