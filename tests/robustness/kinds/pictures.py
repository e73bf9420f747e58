"""Broken pictures in every role: in a training item, in preprocess_sift, infer, check_data and evaluate."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from robustness.harness import Bench, Case, Verdict, judged, judged_call
from robustness.mutations import IN_PLACE, PDF, POSTSCRIPT, SVG, flips, truncations
from robustness.world import HEIGHT, WIDTH

from siftvton.data.dataset import TryOnDataset, TryOnItem
from siftvton.data.layouts.base import (
    AGNOSTIC,
    AGNOSTIC_MASK,
    DENSEPOSE,
    GARMENT,
    GARMENT_MASK,
    GARMENT_PARSING,
    IMAGE,
    WORN_MASK,
)
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.data.pairs import Pair
from siftvton.errors import InputError

PERSON = "00000_00.jpg"
ROLES = {
    "photo": (IMAGE, "00000_00.jpg"),
    "agnostic": (AGNOSTIC, "00000_00.jpg"),
    "mask": (AGNOSTIC_MASK, "00000_00_mask.png"),
    "densepose": (DENSEPOSE, "00000_00.jpg"),
    "garment": (GARMENT, "00000_00.jpg"),
    "garment mask": (GARMENT_MASK, "00000_00.jpg"),
    "parsing": (GARMENT_PARSING, "00000_00.png"),
    "worn mask": (WORN_MASK, "00000_00.jpg"),
}
IN_ITEMS = ("photo", "agnostic", "mask", "densepose", "garment", "worn mask")
IN_PREPROCESSING = ("photo", "agnostic", "mask", "densepose", "garment", "garment mask", "parsing")
MASKS = ("mask", "garment mask", "parsing", "worn mask")
NEAR = 4.0  # mean difference between two JPEG encodings of the same picture, grey levels

Change = Callable[[bytes, Path], bytes]


def cases() -> Iterator[Case]:
    for role in IN_ITEMS:
        for name, change in _changes(role).items():
            yield Case("pictures in items", f"{role}: {name}", partial(_in_item, role, name, change))
    for role in IN_PREPROCESSING:
        for name, change in _changes(role).items():
            yield Case("pictures in preprocess_sift", f"{role}: {name}", partial(_in_preprocessing, role, name, change))
    for role in IN_ITEMS[:-1]:
        for name in ("cut at 3 of 6", "PostScript", "bomb", "empty"):
            yield Case("pictures in infer", f"{role}: {name}", partial(_in_infer, role, _changes(role)[name]))
    for role in ROLES:
        for name in ("cut at 3 of 6", "PostScript", "bomb", "EXIF broken", "noise"):
            yield Case("pictures in check_data", f"{role}: {name}", partial(_in_check, role, _changes(role)[name]))
    for name, change in _changes("photo").items():
        setting = ("paired", "unpaired")[len(name) % 2]
        yield Case("pictures in evaluate", f"{setting}: {name}", partial(_in_evaluate, setting, name, change))


def _changes(role: str) -> dict[str, Change]:
    """Functions by name, which make a changed file from the bytes and the path of the original."""
    changes: dict[str, Change] = {}
    for name, change in {**truncations(6), **flips(8)}.items():
        changes[name] = lambda data, _, change=change: change(data)
    for name, content in {**IN_PLACE, "PostScript": POSTSCRIPT, "PDF": PDF, "SVG": SVG}.items():
        changes[name] = lambda _, __, content=content: content
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "TGA", "ICO"):
        changes[f"a {kind}"] = lambda data, _, kind=kind: _encoded(_grown(data, kind), kind)
    for mode in ("L", "LA", "RGBA", "P", "1", "I;16", "CMYK", "F"):
        changes[f"mode {mode}"] = lambda data, _, mode=mode: _in_mode(data, mode)
    changes["16 bits a channel"] = lambda data, _: _sixteen_bit(data)
    changes["animated PNG"] = lambda data, _: _animated(data)
    changes["1 x 1"] = lambda data, path: _resized(data, path, (1, 1))
    changes["half size"] = lambda data, path: _resized(data, path, (WIDTH // 2, HEIGHT // 2))
    changes["one pixel high"] = lambda data, path: _resized(data, path, (WIDTH, 1))
    changes["transposed"] = lambda data, path: _resized(data, path, (HEIGHT, WIDTH))
    changes["bomb"] = lambda _, path: _bomb_png() if path.suffix == ".png" else _bomb_jpeg()
    for orientation in range(1, 9):
        changes[f"EXIF orientation {orientation}"] = partial(_turned, orientation=orientation)
    for orientation in (0, 9, 65535):
        changes[f"EXIF orientation {orientation}"] = partial(_tagged, orientation=orientation)
    for name, block in BROKEN_EXIF.items():
        changes[name] = partial(_tagged, block=block)
    return changes


# EXIF blocks that can break parsers: TIFF headers with wrong directories.
BROKEN_EXIF = {
    "EXIF broken": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x02\0\0\xff\xff\0\0\0\0",
    "EXIF cut": b"Exif\0\0MM\0*\0\0",
    "EXIF of noise": b"Exif\0\0" + np.random.default_rng(1).bytes(64),
    "EXIF of itself": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0",
    "EXIF orientation as text": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x02x\0\0\0\0\0\0\0",
    "EXIF without entries": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
}


def _opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
    image.load()
    return image


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    lossless = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    image.save(stream, kind, **{**lossless, **options})
    return stream.getvalue()


def _own_kind(data: bytes) -> str:
    return "PNG" if data.startswith(b"\x89PNG") else "JPEG"


def _grown(data: bytes, kind: str) -> Image.Image:
    """The picture converted to a mode that the format supports."""
    image = _opened(data)
    return image.convert("RGB") if kind in ("PPM", "PCX", "WEBP") else image


def _in_mode(data: bytes, mode: str) -> bytes:
    image = _opened(data).convert("RGB")
    if mode == "I;16":
        grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
        return _encoded(Image.fromarray(grey), "PNG")
    if mode == "F":
        return _encoded(image.convert("F"), "TIFF")
    return _encoded(image.convert(mode), "JPEG" if mode == "CMYK" else "PNG")


def _sixteen_bit(data: bytes) -> bytes:
    """A PNG of three 16-bit channels, which Pillow cannot write."""
    levels = np.asarray(_opened(data).convert("RGB")).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in levels)
    header = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], 16, 2, 0, 0, 0)
    return _png(header, zlib.compress(rows))


def _animated(data: bytes) -> bytes:
    image = _opened(data).convert("RGB")
    return _encoded(image, "PNG", save_all=True, append_images=[ImageOps.invert(image)])


def _resized(data: bytes, path: Path, size: tuple[int, int]) -> bytes:
    return _encoded(_opened(data).resize(size), "PNG" if path.suffix == ".png" else "JPEG")


def _png(header: bytes, pixels: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _bomb_png() -> bytes:
    return _png(struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0), zlib.compress(bytes(1000)))


def _bomb_jpeg() -> bytes:
    data = bytearray(_encoded(Image.new("RGB", (16, 16)), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


def _turned(data: bytes, _: Path, orientation: int) -> bytes:
    """The picture stored rotated or mirrored, with the EXIF tag that reverses this."""
    back = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    image = _opened(data)
    if orientation in back:
        image.getexif()[0x0112] = back[orientation]
        image = ImageOps.exif_transpose(image)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _encoded(image, _own_kind(data), exif=exif.tobytes())


def _tagged(data: bytes, _: Path, orientation: int = 1, block: bytes | None = None) -> bytes:
    """The unchanged picture with an EXIF block."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _encoded(_opened(data), _own_kind(data), exif=exif.tobytes() if block is None else block)


def _broken(bench: Bench, split: str, role: str, change: Change) -> tuple[Path, Path]:
    """A copy of the data in which the first pair's file of this role is changed; returns the data and the file."""
    root = bench.copy("data")
    kind, name = ROLES[role]
    path = root / split / kind / name
    path.write_bytes(change(path.read_bytes(), path))
    return root, path


def _must_be_read(name: str) -> bool:
    """Whether phones or editors write this variant."""
    return name.startswith("EXIF orientation ") and name[-1] in "12345678" and not name.endswith("65535")


def _must_be_refused(role: str, name: str) -> bool:
    """Whether the change leaves no complete picture with the view of its photo; a garment may have any view."""
    known = ("first", "cut at", *IN_PLACE, "PostScript", "PDF", "SVG", "bomb", "1 x 1", "one pixel high")
    return name.startswith(known) or (name == "transposed" and role not in ("photo", "garment"))


def _item(root: Path) -> TryOnItem:
    folder = VitonHD(root).split("train")
    return TryOnDataset(folder, [Pair(PERSON, PERSON)], HEIGHT, WIDTH, worn_mask=True)[0]


def _in_item(role: str, name: str, change: Change, bench: Bench) -> Verdict:
    root, path = _broken(bench, "train", role, change)

    def difference() -> str:
        found, whole = _item(root), _item(bench.world.data)
        if _must_be_refused(role, name):
            return "read, though it is no whole picture of this photo's size"
        if name == "transposed":
            return ""
        if name.startswith(("flipped", "last byte")):
            return _damage(path, bench.world.data)
        return _item_difference(role, found, whole)

    return judged_call(difference, InputError, [path.name, "00000_00"], refusable=not _must_be_read(name))


def _is_picture(path: Path) -> bool:
    try:
        _opened(path.read_bytes())
    except Exception:  # noqa: BLE001, Pillow raises many types
        return False
    return True


def _item_difference(role: str, found: TryOnItem, whole: TryOnItem) -> str:
    """How far the picture of the item is from the original, if by more than another encoding; or an empty text."""
    attribute = {"photo": "image", "mask": "keep_mask", "worn mask": "worn_mask"}.get(role, role)
    values = [getattr(item, attribute) for item in (found, whole)]
    scale = 255 if role in MASKS else 127.5
    far = float((values[0] - values[1]).abs().mean()) * scale
    return "" if far <= NEAR else f"{attribute} differs by {far:.1f} grey levels in the mean"


def _damage(path: Path, data: Path) -> str:
    """What is wrong after a flipped bit. JPEG has no check sum, so any picture is right; PNG has one for its pixels."""
    if path.suffix == ".jpg":
        return "" if _is_picture(path) else "read, though Pillow cannot"
    whole = data / Path(*path.parts[-3:])
    same = _is_picture(path) and np.array_equal(_opened(path.read_bytes()), _opened(whole.read_bytes()))
    return "" if same else "read as other pixels, though the PNG has a check sum of them"


def _in_preprocessing(role: str, name: str, change: Change, bench: Bench) -> Verdict:
    root, path = _broken(bench, "train", role, change)
    finished = bench.run("preprocess_sift", f"data.root={root}", "workers=1")
    reference = bench.world.matches

    def same(file: str) -> bool:
        made = bench.output / file
        return made.is_file() and made.read_bytes() == (reference / file).read_bytes()

    def others() -> str:
        left = [n for n in ("00001_00", "00002_00") if not same(f"{n}_sift_matches.json")]
        return f"matches of {', '.join(left)} are not made" if left else ""

    def whole() -> str:
        if not (bench.output / "00000_00_sift_matches.json").is_file():
            return "exit 0 without a match file"
        if _must_be_refused(role, name):
            return "matched, though it is no whole picture of this view"
        return _damage(path, bench.world.data) if name.startswith(("flipped", "last byte")) else others()

    return judged(finished, [path.name, "00000_00"], whole, others, refusable=not _must_be_read(name))


def _in_infer(role: str, change: Change, bench: Bench) -> Verdict:
    root, path = _broken(bench, "test", role, change)
    finished = bench.run("infer", f"data.root={root}")
    needs = {"garment": "00001_00_00000_00"}.get(role, "00000_00_00001_00")
    other = "00000_00_00001_00" if role == "garment" else "00001_00_00000_00"

    def others() -> str:
        made = bench.output / f"{other}.png"
        if (bench.output / f"{needs}.png").exists():
            return f"{needs}.png is made of a broken file"
        whole = made.is_file() and made.read_bytes() == (bench.world.results / made.name).read_bytes()
        return "" if whole else f"{other}.png is not made, or another"

    return judged(finished, [path.name], None, others)


def _in_check(role: str, change: Change, bench: Bench) -> Verdict:
    root, path = _broken(bench, "train", role, change)
    keys = ("data.split=train", "data.validation_pairs=0", f"data.matches={bench.world.matches}")
    finished = bench.run("check_data", f"data.root={root}", *keys)

    def reported() -> str:
        return "" if path.name in (bench.output / "report.md").read_text() else f"report.md does not name {path.name}"

    def whole() -> str:
        """A worn mask only needs to be mentioned in the report, because it is not read by default."""
        return "" if _is_picture(path) else reported() if role == "worn mask" else "called ready"

    return judged(finished, [path.name], whole, reported)


def _in_evaluate(setting: str, name: str, change: Change, bench: Bench) -> Verdict:
    """Score the photos themselves as results, with one of them changed."""
    results, photos = bench.inputs / "results", bench.world.data / "test" / IMAGE
    results.mkdir()
    for person, garment in (("00000_00", "00001_00"), ("00001_00", "00000_00")):
        worn = person if setting == "paired" else garment
        (results / f"{person}_{worn}.jpg").write_bytes((photos / f"{person}.jpg").read_bytes())
    path = sorted(results.iterdir())[0]
    path.write_bytes(change(path.read_bytes(), path))
    keys = (f"setting={setting}", f"predictions.x={results}", f"autoencoder={bench.world.model / 'vae'}")
    bench.may_download = True  # evaluate tries to download missing weights
    finished = bench.run("evaluate", *keys)

    def same() -> str:
        if _must_be_refused("result", name):
            return "scored, though it is no whole picture"
        return "" if name.startswith("flipped") else _score_difference(bench, setting)

    return judged(finished, [path.name, str(results)], same, refusable=not _must_be_read(name))


def _score_difference(bench: Bench, setting: str) -> str:
    """How far the scores are from those of identical pictures, or an empty text."""
    scores = json.loads((bench.output / "metrics.json").read_text())["results"]["x"]["scores"]
    if setting == "paired":
        return "" if scores["ssim"] > 0.9 else f"SSIM {scores['ssim']:.3f} of a picture with itself"
    distance = scores["autoencoder_frechet"]
    return "" if distance < 5 else f"Fréchet distance {distance:.1f} of a set from itself"
