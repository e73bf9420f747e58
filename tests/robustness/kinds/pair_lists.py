"""Broken pair lists, in preprocess_sift, infer, evaluate, check_data and train."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from robustness.harness import Bench, Case, Finished, Verdict, judged, wrong
from robustness.mutations import HTML_PAGE, LFS_POINTER

LISTS = {
    "preprocess_sift": "train_pairs.txt",
    "train": "train_pairs.txt",
    "infer": "test_pairs.txt",
    "evaluate": "test_pairs.txt",
    "check_data": "test_pairs.txt",
}
LONG = "a" * 300

Change = Callable[[bytes], bytes]

# Variants that editors and other systems write.
READABLE: dict[str, Change] = {
    "byte-order mark": lambda text: b"\xef\xbb\xbf" + text,
    "CRLF": lambda text: text.replace(b"\n", b"\r\n"),
    "byte-order mark and CRLF": lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"),
    "tabs": lambda text: text.replace(b" ", b"\t"),
    "many blanks": lambda text: text.replace(b" ", b"   ").replace(b"\n", b"  \n"),
    "empty lines": lambda text: b"\n\n" + text.replace(b"\n", b"\n\n"),
    "no last newline": lambda text: text.rstrip(),
}
EITHER: dict[str, Change] = {
    "UTF-16": lambda text: text.decode().encode("utf-16"),
    "form feed": lambda text: text.replace(b"\n", b"\x0c\n", 1),
    "CR alone": lambda text: text.replace(b"\n", b"\r"),
    "a comment": lambda text: b"# pairs\n" + text,
}
REFUSED: dict[str, Change] = {
    "empty": lambda text: b"",
    "blank": lambda text: b" \n\t\n",
    "byte-order mark alone": lambda text: b"\xef\xbb\xbf",
    "NUL bytes": lambda text: text.replace(b" ", b"\0 "),
    "NUL in a name": lambda text: b"00000\0_00.jpg 00000_00.jpg\n" + text,
    "zeros": lambda text: bytes(64),
    "noise": lambda text: np.random.default_rng(0).bytes(512),
    "a byte that is not UTF-8": lambda text: b"caf\xe9.jpg caf\xe9.jpg\n" + text,
    "one column": lambda text: text.replace(b" ", b"\n"),
    "three columns": lambda text: text.replace(b"\n", b" 1\n"),
    "commas": lambda text: text.replace(b" ", b","),
    "paths": lambda text: text.replace(b"00000_00", b"image/00000_00", 1),
    "parent folder": lambda text: b"../image/00000_00.jpg 00000_00.jpg\n" + text,
    "absolute path": lambda text: b"/etc/passwd.jpg 00000_00.jpg\n" + text,
    "only dots": lambda text: b".. ..\n" + text,
    "backslashes": lambda text: b"..\\00000_00.jpg 00000_00.jpg\n" + text,
    "hidden name": lambda text: b".jpg .jpg\n" + text,
    "no suffix": lambda text: text.replace(b".jpg", b""),
    "suffix of text": lambda text: text.replace(b".jpg", b".txt"),
    "long name": lambda text: f"{LONG}.jpg {LONG}.jpg\n".encode() + text,
    "a name of 250 letters": lambda text: f"{LONG[:246]}.jpg {LONG[:246]}.jpg\n".encode() + text,
    "missing pictures": lambda text: b"99999_00.jpg 99999_00.jpg\n" + text,
    "escape sequence": lambda text: b"\x1b[31m.jpg 00000_00.jpg\n" + text,
    "HTML page": lambda text: HTML_PAGE,
    "LFS pointer": lambda text: LFS_POINTER,
}


def _first_twice(text: bytes) -> bytes:
    return text + text.splitlines()[0] + b"\n"


def cases() -> Iterator[Case]:
    for script in LISTS:
        for name, change in READABLE.items():
            yield Case("pair lists", f"{script}: {name}", partial(_readable, script, change, False))
        for name, change in EITHER.items():
            yield Case("pair lists", f"{script}: {name}", partial(_readable, script, change, True))
        for name, change in REFUSED.items():
            yield Case("pair lists", f"{script}: {name}", partial(_refused, script, change))
    for script in ("preprocess_sift", "infer", "evaluate"):  # a training list may count a pair twice
        yield Case("pair lists", f"{script}: a pair twice", partial(_readable, script, _first_twice, True))
    for name in ("two results of one name", "two suffixes", "letters of other case", "worn under another suffix"):
        yield Case("pair lists", f"infer: {name}", partial(_collision, "infer", "test", name))
    for script in ("preprocess_sift", "train"):
        yield Case("pair lists", f"{script}: two suffixes", partial(_collision, script, "train", "two suffixes"))


def _run(script: str, change: Change, bench: Bench) -> tuple[Path, Finished]:
    """Break the list in a copy of the data and run the script on it; returns the list and the end of the script."""
    root = bench.copy("data")
    path = root / LISTS[script]
    path.write_bytes(change(path.read_bytes()))
    return path, _script(script, bench, root)


def _script(script: str, bench: Bench, root: Path) -> Finished:
    keys = {
        "preprocess_sift": ("workers=1",),
        "train": _train_keys(bench),
        "infer": (),
        "evaluate": (f"predictions.x={bench.world.results}", f"autoencoder={bench.world.model / 'vae'}"),
        "check_data": ("data.split=test",),
    }[script]
    bench.may_download = script == "evaluate"
    return bench.run(script, f"data.root={root}", *keys)


def _readable(script: str, change: Change, refusable: bool, bench: Bench) -> Verdict:
    path, finished = _run(script, change, bench)
    return judged(finished, [path.name], lambda: _difference(script, bench), refusable=refusable)


def _difference(script: str, bench: Bench) -> str:
    """How the output differs from that of the undamaged list, or an empty text."""
    world, output = bench.world, bench.output
    if script == "preprocess_sift":
        return _same_files(output, world.matches, "*_sift_matches.json")
    if script == "infer":
        return _same_files(output, world.results, "*.png")
    if script == "train":
        return _same_files(output, world.reference("one update", "train", *_train_keys(bench)), "metrics.jsonl")
    if script == "check_data":
        return "" if "no" not in _ready(output) else "not called ready"
    return "" if '"results": 2' in (output / "metrics.json").read_text() else "not two results are scored"


def _train_keys(bench: Bench) -> tuple[str, ...]:
    return (f"data.matches={bench.world.matches}", "data.validation_pairs=0", "train.updates=1")


def _ready(output: Path) -> list[str]:
    """The second column of check_data's table."""
    rows = [line.split("|") for line in (output / "report.md").read_text().splitlines() if line.startswith("|")]
    return [row[2].strip() for row in rows[2:]]


def _same_files(output: Path, whole: Path, pattern: str) -> str:
    made, expected = ({path.name: path.read_bytes() for path in folder.glob(pattern)} for folder in (output, whole))
    differing = sorted(name for name in made.keys() | expected.keys() if made.get(name) != expected.get(name))
    return f"{', '.join(differing[:3])} differ" if differing else ""


def _refused(script: str, change: Change, bench: Bench) -> Verdict:
    path, finished = _run(script, change, bench)
    first = path.read_bytes().split()[:1]
    return judged(finished, [path.name, *(name.decode(errors="replace").rpartition(".")[0] for name in first)])


def _collision(script: str, split: str, name: str, bench: Bench) -> Verdict:
    """Two pairs share a name. The list must be refused, or every pair must get its own result."""
    root = bench.copy("data")
    folder = root / split
    persons = {
        "two results of one name": {"a": "b_c", "a_b": "c"},
        "two suffixes": {"00000_00": "00000_00"},
        "letters of other case": {"a": "b", "A": "B"},
        "worn under another suffix": {"00000_00": "00000_00"},
    }[name]
    lines = [f"{person}.jpg {garment}.jpg" for person, garment in persons.items()]
    for kind in (path for path in folder.iterdir() if path.is_dir()):
        (source,) = kind.glob("00000_00*")
        for stem in {*persons, *persons.values()} - {"00000_00"}:
            (kind / source.name.replace("00000_00", stem)).write_bytes(source.read_bytes())
    if name == "two suffixes":
        lines.append("00000_00.png 00000_00.png")
        for kind in ("image", "cloth"):
            (folder / kind / "00000_00.png").write_bytes((folder / kind / "00001_00.jpg").read_bytes())
    if name == "worn under another suffix":
        lines = ["00000_00.jpg 00000_00.png"]
        (folder / "cloth" / "00000_00.png").write_bytes((folder / "cloth" / "00000_00.jpg").read_bytes())
    path = root / LISTS[script]
    path.write_text("".join(f"{line}\n" for line in lines))
    finished = _script(script, bench, root)
    if script != "infer":
        return judged(finished, [path.name])
    made = len(list(bench.output.glob("*.png")))
    if finished.code == 0 and made != len(lines):
        return wrong(f"{made} results of {len(lines)} pairs")
    return judged(finished, [path.name, "00000_00"], lambda: "")
