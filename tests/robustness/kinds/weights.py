"""Broken safetensors of a part, and broken lists of shards, in infer."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from robustness.harness import Bench, Case, Verdict, judged
from robustness.mutations import IN_PLACE, truncations
from safetensors.torch import load_file, save_file
from torch import Tensor

from siftvton.files import read_image

FILES = {
    "image_encoder": "model.safetensors",
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "garment_encoder": "diffusion_pytorch_model.safetensors",
    "image_context": "diffusion_pytorch_model.safetensors",
}
WHOLLY = ("image_encoder", "unet")  # one that transformers saves, one that diffusers saves
Header = dict[str, dict]


def _split(data: bytes) -> tuple[Header, bytes]:
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _joined(header: bytes, tensors: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + tensors


def _in_first(change: Callable[[dict], object]) -> Callable[[Header], None]:
    """Change the entry of the first tensor."""

    def apply(header: Header) -> None:
        change(header[next(name for name in header if name != "__metadata__")])

    return apply


def _first(header: Header) -> str:
    return next(name for name in header if name != "__metadata__")


# Changes to the header; the bytes of the tensors stay undamaged.
HEADERS: dict[str, Callable[[Header], object]] = {
    "dtype F32": _in_first(lambda e: e.update(dtype="F32")),
    "dtype I16": _in_first(lambda e: e.update(dtype="I16")),
    "dtype unknown": _in_first(lambda e: e.update(dtype="F17")),
    "dtype null": _in_first(lambda e: e.update(dtype=None)),
    "shape of one more": _in_first(lambda e: e.update(shape=[*e["shape"][:-1], e["shape"][-1] + 1])),
    "shape turned": _in_first(lambda e: e.update(shape=[1, *e["shape"]])),
    "shape flat": _in_first(lambda e: e.update(shape=[int(np.prod(e["shape"]))])),
    "shape negative": _in_first(lambda e: e.update(shape=[-1])),
    "shape huge": _in_first(lambda e: e.update(shape=[2**62, 4])),
    "shape as text": _in_first(lambda e: e.update(shape="x")),
    "no shape": _in_first(lambda e: e.pop("shape")),
    "offsets turned round": _in_first(lambda e: e.update(data_offsets=e["data_offsets"][::-1])),
    "offsets beyond the end": _in_first(lambda e: e.update(data_offsets=[2**40, 2**40 + 2])),
    "offsets negative": _in_first(lambda e: e.update(data_offsets=[-2, 0])),
    "offsets of another tensor": lambda h: h[_first(h)].update(data_offsets=h[list(h)[-1]]["data_offsets"]),
    "a tensor less": lambda h: h.pop(_first(h)),
    "a tensor renamed": lambda h: h.update(x=h.pop(_first(h))),
    "a tensor twice": lambda h: h.update(x=h[_first(h)]),
    "an entry that is a list": lambda h: h.update({_first(h): []}),
    "metadata as list": lambda h: h.update(__metadata__=[]),
    "metadata of numbers": lambda h: h.update(__metadata__={"format": 1}),
    "metadata of another library": lambda h: h.update(__metadata__={"format": "tf"}),
    "metadata of a program": lambda h: h.update(__metadata__={"format": "pt", "auto_map": "evil/kernel"}),
    "no metadata": lambda h: h.pop("__metadata__", None),
}
# Changes to the tensors.
TENSORS: dict[str, Callable[[Tensor], Tensor]] = {
    "NaN": lambda t: torch.full_like(t, float("nan")),
    "one NaN": lambda t: t.flatten().index_fill(0, torch.tensor([t.numel() // 2]), float("nan")).reshape(t.shape),
    "one infinity": lambda t: t.flatten().index_fill(0, torch.tensor([0]), float("inf")).reshape(t.shape),
    "as integers": lambda t: t.to(torch.int8),
    "as truth values": lambda t: t > 0,
    "as complex numbers": lambda t: t.to(torch.complex64),
    "transposed": lambda t: t.T.contiguous() if t.ndim == 2 else t.flatten(),
    "of no element": lambda t: t.flatten()[:0],
}
SAME = {"float32": torch.float32, "float64": torch.float64}  # another precision of the same numbers


def cases() -> Iterator[Case]:
    for place, part in enumerate(FILES):
        where = f"{part}/{FILES[part]}"
        acts: dict[str, Callable[[Bench], Verdict]] = {}
        for change, edit in HEADERS.items():
            acts[change] = partial(_run, where, partial(_with_header, edit))
        for change, edit in TENSORS.items():
            acts[change] = partial(_with_tensors, where, edit, False)
        for change, dtype in SAME.items():
            acts[f"as {change}"] = partial(_with_tensors, where, partial(Tensor.to, dtype=dtype), True)
        for change, edit in {**truncations(5), **LENGTHS}.items():
            acts[change] = partial(_run, where, edit)
        for change, content in IN_PLACE.items():
            acts[change] = partial(_run, where, lambda _, content=content: content)
        for change in SHARDS if part in WHOLLY else ():
            acts[change] = partial(_sharded, part, change)
        # The parts of a library are read in the same way: two parts get all changes, the others take turns.
        turns = 1 if part in WHOLLY else len(FILES) - len(WHOLLY)
        for change, act in list(acts.items())[place % turns :: turns]:
            yield Case("safetensors", f"{part}: {change}", act)


LENGTHS: dict[str, Callable[[bytes], bytes]] = {
    "a header of length 0": lambda data: bytes(8) + data[8:],
    "a header longer than the file": lambda data: struct.pack("<Q", len(data)) + data[8:],
    "a header of 2^63 bytes": lambda data: struct.pack("<Q", 2**63) + data[8:],
    "a header one byte short": lambda data: struct.pack("<Q", struct.unpack("<Q", data[:8])[0] - 1) + data[8:],
    "a header that is a list": lambda data: _joined(b"[]", _split(data)[1]),
    "a header that is empty": lambda data: _joined(b"{}", b""),
    "a header that is no JSON": lambda data: _joined(b"{'a': 1}", _split(data)[1]),
    "a header nested too deep": lambda data: _joined(b"[" * 50_000, _split(data)[1]),
    "a header of a name twice": lambda data: _twice(data),
    "bytes after the end": lambda data: data + b"\0" * 64,
}


def _twice(data: bytes) -> bytes:
    header, tensors = _split(data)
    name = _first(header)
    return _joined(
        json.dumps(header)[:-1].encode() + f", {json.dumps(name)}: {json.dumps(header[name])}}}".encode(), tensors
    )


def _with_header(edit: Callable[[Header], object], data: bytes) -> bytes:
    header, tensors = _split(data)
    edit(header)
    return _joined(json.dumps(header).encode(), tensors)


def _infer(bench: Bench, model: Path, where: str, refusable: bool = True, same: bool = False) -> Verdict:
    finished = bench.run("infer", f"checkpoint={model}", "limit=1")

    def difference() -> str:
        (path,) = bench.output.glob("*.png")
        far = np.abs(read_image(path).astype(int) - read_image(bench.world.results / path.name)).max()
        return "" if far <= 1 else f"exit 0, and {path.name} differs by up to {far} grey levels"

    return judged(finished, [where, f"model/{Path(where).parent}"], difference, refusable=refusable or same)


def _run(where: str, change: Callable[[bytes], bytes], bench: Bench) -> Verdict:
    model = bench.copy("model")
    (model / where).write_bytes(change((model / where).read_bytes()))
    return _infer(bench, model, where)


def _with_tensors(where: str, edit: Callable[[Tensor], Tensor], same: bool, bench: Bench) -> Verdict:
    model = bench.copy("model")
    tensors = load_file(model / where)
    changed = tensors if same else [next(name for name, value in tensors.items() if value.ndim > 1)]
    save_file({n: edit(t) if n in changed else t for n, t in tensors.items()}, model / where, metadata={"format": "pt"})
    return _infer(bench, model, where, refusable=not same)


def _runs(command: str) -> object:
    class Runs:
        def __reduce__(self) -> tuple:
            return os.system, (command,)

    return Runs()


# Entries of a list of shards. All except the first must be refused, or ignored if there is a single file.
SHARDS = ("shards", "a shard that is missing", "a shard outside the folder", "a shard that is a pickle",
          "a pickle beside the weights", "a pickle in place of the weights", "an index that is a list",
          "an index without names", "an index of numbers", "an index that is empty")  # fmt: skip


def _sharded(part: str, change: str, bench: Bench) -> Verdict:
    model = bench.copy("model")
    path = model / part / FILES[part]
    tensors = load_file(path)
    shard = path.with_name(f"{path.stem}-00001-of-00001.safetensors")
    index = path.with_name(f"{path.name}.index.json")
    pickle = path.with_name("pytorch_model.bin" if part == "image_encoder" else "diffusion_pytorch_model.bin")
    path.rename(shard)
    names = dict.fromkeys(tensors, shard.name)
    content: object = {"metadata": {"total_size": 1}, "weight_map": names}
    hostile = {**tensors, "x": _runs(f"touch '{bench.canary}'")}
    if change == "a shard that is missing":
        shard.unlink()
    elif change == "a shard outside the folder":
        shard.rename(model / "outside.safetensors")
        content = {"metadata": {}, "weight_map": dict.fromkeys(tensors, "../outside.safetensors")}
    elif change == "a shard that is a pickle":
        torch.save(hostile, path.with_name("shard.bin"))
        content = {"metadata": {}, "weight_map": dict.fromkeys(tensors, "shard.bin")}
    elif change.startswith("a pickle"):
        torch.save(hostile, pickle)
        if change == "a pickle beside the weights":
            shard.rename(path)
    else:
        content = {"an index that is a list": [], "an index without names": {"metadata": {}},
                   "an index of numbers": {"metadata": {}, "weight_map": dict.fromkeys(tensors, 1)},
                   "an index that is empty": {}}.get(change, content)  # fmt: skip
    if not change.startswith("a pickle"):
        index.write_text(json.dumps(content))
    return _infer(bench, model, f"{part}/{index.name}", refusable=change != "shards")
