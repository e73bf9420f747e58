"""Read the tensors of a Lightning checkpoint without running any code that the file names.

PyTorch's own safe reader refuses honest checkpoints that also hold configuration objects. This reader rebuilds only
tensors, and checks each one against the bytes in the file. It never imports a class or function of another package;
an inert stub takes its place. A hostile pickle calls functions of Python's own library, so a file that names anything
in it is refused, except for the types of plain values in ``HARMLESS``.
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

# Names in Python's own library that configuration objects and training states use; stubs replace these, too.
HARMLESS = {
    "_codecs": {"encode"},  # protocol 2 writes bytes with it, e.g. in NumPy numbers and random states
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
PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # PyTorch uses pickle protocol 2, which has old names

# The data type of each PyTorch storage class; untyped storages are counted in bytes.
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
NEW_DTYPES = {  # data types that PyTorch keeps in untyped storages
    name: getattr(torch, name) for name in ("float8_e4m3fn", "float8_e5m2", "uint16", "uint32", "uint64")
}
LOCAL_HEADER = 30  # bytes before the name of an entry in the zip format
REPEATED = 2**20  # limit on the elements of a tensor that repeats fewer stored elements, with strides of 0

# Errors that a damaged or hostile pickle can raise in Python's unpickler, in addition to UnpicklingError.
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
    """Accepts everything that a pickle does to an object, and does nothing."""

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
    """A part of the file that holds numbers of one type."""

    content: torch.UntypedStorage
    dtype: torch.dtype


# The unpickler written in Python. The one in C allocates as much memory as the file claims to need before reading on.
PlainUnpickler: Any = pickle._Unpickler


class TensorUnpickler(PlainUnpickler):
    """Rebuilds tensors and plain containers; the module docstring describes what happens to everything else."""

    def __init__(self, content: bytes, storage: Callable[[str], torch.UntypedStorage]) -> None:
        """
        Args:
            content: the pickle. storage: returns the bytes of an archive entry.
        """
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
            raise pickle.UnpicklingError(f"the file names {module}.{name}, which no checkpoint needs")
        return Stub

    def persistent_load(self, identity: Any) -> Storage:
        if not isinstance(identity, tuple) or len(identity) != 5 or identity[0] != "storage":
            raise ValueError("it refers to an object that is not a tensor storage")
        _, dtype, key, _, count = identity
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or not _is_count(count):
            raise ValueError("its weights have an unknown data type and may be quantised")
        content = self.storage(key)
        if count * dtype.itemsize > content.nbytes():
            raise ValueError(f"its storage {key} has fewer bytes than stated")
        return Storage(content, dtype)

    # Sets and attributes hold no tensors, so they are skipped. Hashing nested objects from a file, or setting
    # attributes on objects that it names, would let the file end or change this process.

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
    """Return ``key`` if it is allowed as a dictionary key: a plain value or a tuple of plain values."""
    plain = (str, int, float, bool, bytes, type(None), Stub, torch.dtype)
    if type(key) in plain or (type(key) is tuple and all(type(each) in plain for each in key)):
        return key
    raise ValueError("a dictionary key in it is not a plain value")


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
    """Rebuild a tensor like PyTorch's ``_rebuild_tensor_v2``, within the bounds of the storage."""
    return _view(storage, getattr(storage, "dtype", None), offset, size, stride)


def _tensor_of(storage: Any, offset: int, size: Sequence[int], stride: Sequence[int], *rest: Any) -> Tensor:
    """Rebuild a tensor like PyTorch's ``_rebuild_tensor_v3``, for data types without a storage class."""
    _, _, dtype, *_ = rest  # the first two are requires_grad and the backward hooks
    return _view(storage, dtype, offset, size, stride)


def _view(storage: Any, dtype: Any, offset: int, size: Sequence[int], stride: Sequence[int]) -> Tensor:
    """A tensor in a storage, from element ``offset`` on; ``size`` and ``stride`` are in elements."""
    if not isinstance(storage, Storage) or not isinstance(dtype, torch.dtype):
        raise ValueError("a tensor in it has no storage or an unknown data type")
    if len(size) != len(stride) or not all(map(_is_count, (offset, *size, *stride))):
        raise ValueError("a tensor in it has an invalid size, stride or offset")
    count = math.prod(size)
    if not count:
        return torch.empty(0, dtype=dtype).reshape(size)
    if count > max(storage.content.nbytes() // dtype.itemsize, REPEATED):
        raise ValueError("a tensor in it is larger than its storage")
    return torch.empty(0, dtype=dtype).set_(storage.content, offset, size, stride)  # raises outside the storage


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


# All functions that a state_dict requires, in addition to PyTorch's storage classes.
REBUILDERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _ordered,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
}


class _Archive:
    """A checkpoint as ``torch.save`` writes it: a zip archive of uncompressed entries, mapped into memory."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            ValueError: the file is compressed, a program, or not in the zip format.
            OSError: the file cannot be read.
        """
        try:
            if not zipfile.is_zipfile(path):
                raise ValueError("it is not in PyTorch's zip format; save it again with PyTorch 1.6 or newer")
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
        except (MemoryError, RuntimeError, struct.error, zipfile.BadZipFile) as error:
            raise ValueError(f"it is a damaged archive: {error}") from error
        size = path.stat().st_size
        if any(Path(entry.filename).name == "constants.pkl" for entry in entries):
            raise ValueError("it is a TorchScript program")
        if any(
            entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries
        ):
            raise ValueError("it is compressed, but PyTorch never writes compressed files")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("its entries claim to be larger than the file")
        self.content = torch.UntypedStorage.from_file(str(path), shared=False, nbytes=size)
        self.entries = {entry.filename.partition("/")[2]: entry for entry in entries}  # without the archive's name
        if "data.pkl" not in self.entries:
            raise ValueError("it has no entry data.pkl, so it was not written by PyTorch")
        if "byteorder" in self.entries and self.read("byteorder") != b"little":
            raise ValueError("it was written on a big-endian machine")

    def read(self, name: str) -> bytes:
        return _bytes(self.storage(name))

    def storage(self, name: str) -> torch.UntypedStorage:
        """The bytes of an entry, memory-mapped and not yet read.

        Raises:
            ValueError: the entry is missing or damaged, or ends beyond the file.
        """
        if name not in self.entries:
            raise ValueError(f"its entry {name} is missing")
        entry = self.entries[name]
        header = _bytes(self.content[entry.header_offset : entry.header_offset + LOCAL_HEADER])
        if len(header) != LOCAL_HEADER or not header.startswith(b"PK\x03\x04"):
            raise ValueError(f"its entry {name} is damaged")
        names = sum(struct.unpack("<HH", header[-4:]))  # the lengths of the name and of the extra field
        begin = entry.header_offset + LOCAL_HEADER + names
        if begin + entry.file_size > self.content.nbytes():
            raise ValueError(f"its entry {name} ends beyond the file")
        return self.content[begin : begin + entry.file_size]


def _bytes(storage: torch.UntypedStorage) -> bytes:
    return torch.empty(0, dtype=torch.uint8).set_(storage).numpy().tobytes()


def read_tensors(path: Path) -> Any:
    """The content of a checkpoint in the zip format: memory-mapped tensors, and stubs for other objects.

    Raises:
        pickle.UnpicklingError: the file names an object that no checkpoint needs.
        ValueError: the file is damaged, compressed, a program, or not in the zip format.
        OSError: the file cannot be read.
    """
    try:
        archive = _Archive(path)
        return TensorUnpickler(archive.read("data.pkl"), lambda key: archive.storage(f"data/{key}")).load()
    except EOFError as error:
        raise ValueError("its pickle ends too early") from error
    except BROKEN as error:
        raise ValueError(str(error) or type(error).__name__) from error
