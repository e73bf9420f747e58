"""Prepare photos and garments for try-on, and write them in VITON-HD's layout."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from siftvton.commands import Command
from siftvton.errors import InputError, UsageError
from siftvton.options import MANY, option
from siftvton.prepare.config import ModelsConfig, PhotoConfig

if TYPE_CHECKING:
    from siftvton.data.layouts.base import Layout
    from siftvton.prepare.folder import Batch
    from siftvton.prepare.sources import Sources


@dataclass
class Prepare(PhotoConfig):
    """Prepare photos and garments for try-on, and write them in VITON-HD's layout."""

    input: str = option("photos", "folder with photos in image/ and garments in cloth/ (data/README.md)", path=True)
    output: str = option("data/prepared", "folder for the prepared data, which data.root can name", path=True)
    layout: str = option(
        "auto",
        "where the folders image and cloth are; flat: in the input folder; test, train: in its folder of that name; "
        "auto: recognise which of these it is",
        choices=("auto", "flat", "test", "train"),
    )
    models: ModelsConfig = field(default_factory=ModelsConfig)
    device: str | None = option(None, "device for the models, e.g. cuda:0 or cpu; null: the GPU if there is one")
    preview: int = option(60, "number of persons and of garments to draw on sheets; 0: none", minimum=0, maximum=MANY)
    strict: bool = option(
        False, "stop at the first picture that fails, instead of listing it and continuing with the others"
    )


CONFIGURATION, SHEETS = "prepare.yaml", "sheets"  # in the output folder


def prepare(config: Prepare) -> str:
    """Prepare every photo and garment that is not prepared yet.

    Returns:
        What was made, remarks, and what ``check_data`` says about the result.

    Raises:
        InputError: pictures could not be prepared, or a model that the configuration names cannot be had; raised once
            all other pictures are done, or at once if ``strict``.
        UsageError: the output folder holds other data.
    """
    from siftvton.data.layouts import layout_of
    from siftvton.devices import device_of
    from siftvton.prepare.finder import Finder
    from siftvton.prepare.folder import prepare_folder, remark_lines, write_pairs, write_sheets
    from siftvton.prepare.models import Models
    from siftvton.prepare.published import licences
    from siftvton.prepare.sources import open_sources
    from siftvton.prepare.store import Store
    from siftvton.settings import save_configuration

    config = replace(config, input=os.path.abspath(config.input))
    sources, output = open_sources(config.input, config.layout), Path(config.output)
    models = Models(config.models, device_of(config.device))
    if _claim(config, sources, output) and any(vars(config.models).values()):
        print(f"Models that are fetched when they are needed, and their licences:\n\n{licences()}\n", flush=True)
    save_configuration(config, output / CONFIGURATION)
    folder = output / sources.split
    folder.mkdir(exist_ok=True)

    layout = layout_of("vitonhd", output)
    store = Store(layout.split(sources.split))
    finder = Finder(models)
    try:
        batch = prepare_folder(sources, store, finder, config, config.models, config.strict)
    finally:
        models.record(output)
    write_pairs(sources, batch, output / f"{sources.split}_pairs.txt")
    sheets = write_sheets(store, batch, output / SHEETS, config.preview)

    failed = [f"{path}: {reason}" for path, reason in batch.failures.items()]
    lacking = [
        finder.missing[part] for part in sorted(batch.lacking & finder.missing.keys()) if getattr(config.models, part)
    ]
    remarks = [reason for reason in finder.missing.values() if reason not in lacking]
    remarks += [*remark_lines(batch.persons), *remark_lines(batch.garments)]
    text = _summary(batch, folder, sheets, remarks) + _checked(layout, sources.split, config.largest)
    if not failed and not lacking:
        return text
    print(text, end="")
    count = len(batch.persons) + len(batch.garments) + len(failed)
    said = [f"{len(failed)} of {count} pictures could not be prepared"] if failed else []
    said += ["a model could not be had, so files are missing"] if lacking else []
    raise InputError("\n  ".join([f"{' and '.join(said)}:", *failed, *lacking]))


def _claim(config: Prepare, sources: "Sources", output: Path) -> bool:
    """Whether the output folder is new; refuse one that holds other data.

    Raises:
        UsageError: it is the input, or it holds data that this command did not make, or made of another input.
    """
    from siftvton.files import is_file
    from siftvton.settings import differences

    folder, saved = output / sources.split, output / CONFIGURATION
    if folder.resolve() == sources.folder.resolve():
        raise UsageError(f"output={output}: holds the input itself in {folder}; name another output")
    if is_file(saved):
        changed = [line for line in differences(config, saved) if line.startswith("input:")]
        if changed:
            raise UsageError(f"output={output}: holds data of another input ({changed[0]}); use another folder")
        return False
    found = [path for path in (folder, output / f"{sources.split}_pairs.txt") if os.path.lexists(path)]
    if found:
        raise UsageError(f"output={output}: holds data that this command did not make ({found[0]}); use another folder")
    return True


def _summary(batch: "Batch", folder: Path, sheets: list[Path], remarks: list[str]) -> str:
    """Return what was made, where to look at it, and the remarks."""
    kept = f", {batch.kept} of them by an earlier run" if batch.kept else ""
    lines = [f"{folder}: {len(batch.persons)} persons and {len(batch.garments)} garments are prepared{kept}"]
    if sheets:
        lines.append(f"Look at {', '.join(map(str, sheets))} before anything else: is each mask right?")
    return "\n".join([*lines, *(f"- {remark}" for remark in remarks), "", ""])


def _checked(layout: "Layout", split: str, size: tuple[int, int]) -> str:
    """Return the report of ``check_data`` on the split."""
    from siftvton.data.readiness import inspect_part, parts_of, report

    parts = parts_of(layout, split)
    for part in parts:
        inspect_part(part, layout, size, layout.split(split).matches, size)
    return report(layout.root, parts)[0]


COMMAND = Command(Prepare, prepare, "vitonhd.yaml")
