"""Links, FIFOs, folders and devices in place of input and output files, and files without permissions."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from robustness.harness import Bench, Case, Verdict, judged, wrong

from siftvton.files import sha256

LIMIT = 20.0  # seconds, after which a case counts as waiting for ever
NOBODY = 65534

# The inputs of each script: a part of the world and a path in it.
INPUTS: dict[str, tuple[tuple[str, str], ...]] = {
    "preprocess_sift": (
        ("data", "train_pairs.txt"),
        ("data", "train/image/00000_00.jpg"),
        ("data", "train/cloth/00000_00.jpg"),
        ("data", "train/agnostic-mask/00000_00_mask.png"),
        ("data", "train/cloth_parse-bytedance/00000_00.png"),
        ("data", "train/image"),
    ),
    "infer": (
        ("data", "test_pairs.txt"),
        ("data", "test/image/00000_00.jpg"),
        ("data", "test/agnostic-mask/00000_00_mask.png"),
        ("data", "test/agnostic-v3.2"),
        ("data", "test"),
        ("model", "unet/config.json"),
        ("model", "unet/diffusion_pytorch_model.safetensors"),
        ("model", "scheduler/scheduler_config.json"),
        ("model", "model_index.json"),
        ("model", "vae"),
    ),
    "train": (
        ("data", "train_pairs.txt"),
        ("data", "train/image/00000_00.jpg"),
        ("matches", "00000_00_sift_matches.json"),
        ("matches", "."),
    ),
    "evaluate": (
        ("data", "test/image/00000_00.jpg"),
        ("results", "00000_00_00001_00.png"),
        ("results", "."),
        ("inception", "."),
    ),
    "evaluate_toy": (("data", "world.json"), ("results", "00000_00_00001_00.png")),
    "attention_error": (("data", "test/exact_map/00000_00.npz"),),
    "visualize_reference": (("matches", "00000_00_sift_matches.json"),),
    "compare_results": (("results", "00000_00_00001_00.png"), ("data", "test/cloth/00000_00.jpg")),
    "check_data": (("data", "test/image/00000_00.jpg"), ("data", "test_pairs.txt"), ("data", "test/cloth")),
    "convert_checkpoint": (("model", "vae/config.json"), ("model", "unet/diffusion_pytorch_model.safetensors")),
    "report": (
        ("report", "train/metrics.jsonl"),
        ("report", "against_truth/toy.png"),
        ("report", "against_truth/toy.md"),
    ),
}


def _fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path, _: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's address is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


# Things in place of a file; the second path leads to the undamaged file.
STAND_INS: dict[str, Callable[[Path, Path], object]] = {
    "a link": lambda path, whole: path.symlink_to(whole),
    "a dangling link": lambda path, _: path.symlink_to("nowhere"),
    "a link to itself": lambda path, _: path.symlink_to(path.name),
    "a link to /dev/null": lambda path, _: path.symlink_to("/dev/null"),
    "a link to /dev/zero": lambda path, _: path.symlink_to("/dev/zero"),
    "a FIFO": _fifo,
    "a socket": _socket,
    "the other kind": lambda path, whole: path.mkdir() if whole.is_file() else path.write_text("x"),
    "no rights": lambda path, whole: (_copied(whole, path), path.chmod(0)),
}


def _copied(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def cases() -> Iterator[Case]:
    for script, inputs in INPUTS.items():
        for part, place in inputs:
            for name, stand_in in STAND_INS.items():
                shown = f"{script}: {part if place == '.' else f'{part}/{place}'} is {name}"
                yield Case("odd files", shown, partial(_input, script, part, place, name, stand_in), LIMIT)
    for script in OUTPUTS:
        for name in ("a file", "a link to a folder", "a dangling link", "a FIFO", "in a folder that is a file",
                     "read-only", "in a read-only folder", "below a folder without rights"):  # fmt: skip
            yield Case("odd outputs", f"{script}: output is {name}", partial(_output, script, name), LIMIT)
        for file in OUTPUTS[script]:
            for name in ("a dangling link", "a folder", "a FIFO"):
                yield Case(
                    "odd outputs", f"{script}: {file} is {name}", partial(_output_file, script, file, name), LIMIT
                )
        if script in PLANTED:
            yield Case("odd outputs", f"{script}: a planted link", partial(_planted, script), LIMIT)
        for place in ("home", "temporary"):
            yield Case("odd outputs", f"{script}: {place} folder is read-only", partial(_no_home, script, place), LIMIT)


def _keys(script: str, bench: Bench, broken: dict[str, Path]) -> list[str]:
    """The inputs of the script: the broken copies, and all others undamaged."""
    world = bench.world

    def at(part: str) -> Path:
        return broken.get(part, getattr(world, part))

    keys = {
        "preprocess_sift": lambda: ["workers=1"],
        "infer": lambda: [f"checkpoint={at('model')}"],
        "train": lambda: [f"data.matches={at('matches')}", "data.validation_pairs=0", "train.updates=3"],
        "evaluate": lambda: [
            f"predictions.x={at('results')}",
            f"autoencoder={world.model / 'vae'}",
            *(_inception(broken["inception"], world.inception) if "inception" in broken else []),
        ],
        "evaluate_toy": lambda: [f"predictions={at('results')}", "workers=1", "others=0"],
        "attention_error": list,
        "visualize_reference": lambda: [f"matches={at('matches')}"],
        "compare_results": lambda: [f"predictions.x={at('results')}"],
        "check_data": lambda: ["data.split=test"],
        "convert_checkpoint": lambda: [f"input={at('model')}"],
        "make_toy_data": lambda: ["train_pairs=1", "test_pairs=2", "height=64", "width=48", "workers=1"],
        "train_autoencoder": lambda: ["batch_size=1", "crop=64"],
        "experiment": lambda: [f"measures={world.measures}", f"report={bench.output}/results"],
        "report": list,
    }[script]()
    bench.may_download = script == "evaluate"
    no_data = script in ("convert_checkpoint", "make_toy_data", "experiment", "report")
    return keys if no_data else [f"data.root={at('data')}", *keys]


def _inception(path: Path, whole: Path) -> list[str]:
    return [f"inception={path}", f"inception_sha256={sha256(whole)}"]


def _input(
    script: str, part: str, place: str, name: str, stand_in: Callable[[Path, Path], object], bench: Bench
) -> Verdict:
    """Replace one input by something else. A link to the undamaged file must work like the file."""
    root = bench.copy(part)
    path = root / place if place != "." else root
    whole = bench.folder / "whole" / path.name
    whole.parent.mkdir()
    path.rename(whole)
    stand_in(path, whole)
    if script == "report":
        root.rename(bench.output)
    with _as_nobody(bench, name == "no rights"):
        finished = bench.run(script, *_keys(script, bench, {part: root}))
    names = [path.name, path.stem, str(root), path.parent.name]
    # Files that are not read, or need not be read, may be anything.
    unread = place == "model_index.json" or "cloth_parse" in place or "densepose" in place or "mask" in place
    if name != "a link":
        return judged(finished, names, (lambda: "") if unread else None)
    return judged(finished, names, lambda: "", refusable=False)


@contextmanager
def _as_nobody(bench: Bench, expected: bool) -> Iterator[None]:
    """Run the block without the permissions of root, if this process has them; the case's folders stay writable."""
    if not expected or os.geteuid() != 0:
        yield
        return
    for path in (bench.folder, *bench.folder.rglob("*")):
        if not path.is_symlink():
            os.chown(path, NOBODY, NOBODY)
    bench.folder.chmod(0o755)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


# The files that each script writes into its output folder.
OUTPUTS: dict[str, tuple[str, ...]] = {
    "preprocess_sift": ("00000_00_sift_matches.json", "counts.jsonl", "matches.md", "preprocess_sift.yaml"),
    "infer": ("00000_00_00001_00.png", "infer.yaml", "sheet", "weights.sha256"),
    "train": ("model", "checkpoints", "metrics.jsonl", "train.yaml"),
    "train_autoencoder": ("vae", "psnr.json"),
    "evaluate": ("metrics.json", "table.md", "per_image_x.csv", "config.yaml"),
    "evaluate_toy": ("toy.json", "toy.png"),
    "attention_error": ("attention_error.json",),
    "compare_results": ("comparison.png",),
    "visualize_reference": ("reference.png",),
    "check_data": ("report.md",),
    "make_toy_data": ("train", "train_pairs.txt", "world.json"),
    "experiment": ("results.json", "results.md"),
    "convert_checkpoint": (),
}
# A temporary file of each script, under a name that others could guess if it were not random.
PLANTED = {
    "preprocess_sift": ".00000_00_sift_matches.part.json",
    "infer": ".00000_00_00001_00.part.png",
    "evaluate": ".metrics.part.json",
    "check_data": ".report.part.md",
}


def _ran(script: str, bench: Bench, names: list[str], as_nobody: bool = False) -> Verdict:
    """The script must end with one line or do its work."""
    with _as_nobody(bench, as_nobody):
        finished = bench.run(script, *_keys(script, bench, {}))
    return judged(finished, names, lambda: "")


def _output(script: str, name: str, bench: Bench) -> Verdict:
    other = bench.folder / "other disk"
    nobody = False
    if name == "a file":
        bench.output.write_text("x")
    elif name == "a link to a folder":
        other.mkdir()
        bench.output.symlink_to(other)
    elif name == "a dangling link":
        bench.output.symlink_to(other)
    elif name == "a FIFO":
        os.mkfifo(bench.output)
    elif name == "in a folder that is a file":
        other.write_text("x")
        bench.output = other / "output"
    else:
        nobody = True
        other.mkdir()
        bench.output = other if name == "read-only" else other / "output"
    if nobody:
        with _as_nobody(bench, True):
            pass  # gives the folders to the other user
        other.chmod(0 if "without rights" in name else 0o555)
    return _ran(script, bench, [str(bench.output), str(other)], as_nobody=nobody)


def _output_file(script: str, file: str, name: str, bench: Bench) -> Verdict:
    bench.output.mkdir()
    path = bench.output / file
    if name == "a dangling link":
        path.symlink_to("nowhere")
    elif name == "a folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    return _ran(script, bench, [file, str(bench.output)])


def _planted(script: str, bench: Bench) -> Verdict:
    """A link planted in place of a temporary file must not be followed; its target must stay unchanged."""
    victim = bench.file("victim", "precious")
    bench.output.mkdir()
    (bench.output / PLANTED[script]).symlink_to(victim)
    verdict = _ran(script, bench, [str(bench.output)])
    return verdict if victim.read_bytes() == b"precious" else wrong("the target of the link was overwritten")


def _no_home(script: str, place: str, bench: Bench) -> Verdict:
    """The home or temporary folder is read-only, as on compute nodes."""
    folder = bench.folder / place
    folder.chmod(0o555)
    try:
        return _ran(script, bench, [str(folder), str(bench.output)], as_nobody=True)
    finally:
        folder.chmod(0o755)
