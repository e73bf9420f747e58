"""Prepare photos and garments for try-on, and write them in VITON-HD's layout; or draw DressCode's masks."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from siftvton.commands import Command
from siftvton.errors import InputError, UsageError
from siftvton.options import MANY, WORKERS, option
from siftvton.prepare.config import ModelsConfig, PhotoConfig
from siftvton.wording import counted

if TYPE_CHECKING:
    from siftvton.data.layouts.base import Layout
    from siftvton.prepare.folder import Batch


@dataclass
class Prepare(PhotoConfig):
    """Prepare photos and garments for try-on, and write them in VITON-HD's layout; or draw DressCode's masks."""

    input: str = option(
        "photos",
        "folder with photos in image/ and garments in cloth/, or DressCode's folder (data/README.md)",
        path=True,
    )
    output: str = option("data/prepared", "folder for the prepared data, which data.root can name", path=True)
    layout: str = option(
        "auto",
        "where the folders image and cloth are; flat: in the input folder; test, train: in its folder of that name; "
        "auto: recognise which of these it is; dresscode: the input is DressCode's folder, for which agnostic masks "
        "and pictures are written",
        choices=("auto", "flat", "test", "train", "dresscode"),
    )
    models: ModelsConfig = field(default_factory=ModelsConfig)
    device: str | None = option(None, "device for the models, e.g. cuda:0 or cpu; null: the GPU if there is one")
    preview: int = option(60, "number of persons and of garments to draw on sheets; 0: none", minimum=0, maximum=MANY)
    workers: int = option(
        0, "number of processes for layout=dresscode; 0: one for each core", minimum=0, maximum=WORKERS
    )
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
    from siftvton.places import require_outside
    from siftvton.prepare.finder import Finder
    from siftvton.prepare.folder import prepare_folder, remark_lines, write_pairs, write_sheets
    from siftvton.prepare.models import Models
    from siftvton.prepare.published import licences
    from siftvton.prepare.sources import open_sources
    from siftvton.prepare.store import Store
    from siftvton.settings import save_configuration

    config = replace(config, input=os.path.abspath(config.input))
    if config.layout == "dresscode":
        return _dresscode(config)
    sources, output = open_sources(config.input, config.layout), Path(config.output)
    read = {path.parent for item in (*sources.persons, *sources.garments) for path in item.files}
    require_outside(output, sorted(read), f"input={config.input}")
    models = Models(config.models, device_of(config.device))
    if _claim(config, output, sources.folder, [sources.split, f"{sources.split}_pairs.txt"]) and any(
        vars(config.models).values()
    ):
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
    said = [f"{len(failed)} of {counted(count, 'picture')} could not be prepared"] if failed else []
    said += ["a model could not be had, so files are missing"] if lacking else []
    raise InputError("\n  ".join([f"{' and '.join(said)}:", *failed, *lacking]))


def _dresscode(config: Prepare) -> str:
    """Draw the masks of DressCode's persons that have none yet; raises as :func:`prepare`."""
    from siftvton.data.layouts import CATEGORIES
    from siftvton.data.layouts.dresscode import DressCode
    from siftvton.places import require_outside
    from siftvton.prepare.dresscode import jobs_of, make_all, write_sheets
    from siftvton.prepare.folder import named
    from siftvton.settings import save_configuration

    if not DressCode.recognises(config.input):
        raise InputError(
            f"input={config.input}: has no folder images in {', '.join(CATEGORIES)}; name DressCode's folder"
        )
    output = Path(config.output)
    require_outside(output, [Path(config.input, category) for category in CATEGORIES], f"input={config.input}")
    _claim(config, output, Path(config.input, CATEGORIES[0]), CATEGORIES)
    output.mkdir(parents=True, exist_ok=True)
    jobs = jobs_of(DressCode(config.input), output)
    save_configuration(config, output / CONFIGURATION)
    made = make_all(jobs, config.workers or os.cpu_count() or 1, config.strict)
    sheets = write_sheets(made.jobs, output / SHEETS, config.preview)
    lines = [f"{output}: {made.summary()}"]
    if sheets:
        lines.append(f"Look at {', '.join(map(str, sheets))} before anything else: is each mask right?")
    lines += [f"- {named(persons)}: {remark}" for remark, persons in made.remarks.items()]
    lines.append(f"data.root={config.input} data.agnostic={output} gives them to every other command")
    text = "\n".join(lines)
    if not made.failures:
        return text
    print(text)
    raise InputError(
        "\n  ".join([f"{len(made.failures)} of {counted(len(jobs), 'mask')} could not be made:", *made.failures])
    )


def _claim(config: Prepare, output: Path, source: Path, made: Sequence[str]) -> bool:
    """Whether the output folder is new; refuse one that holds other data.

    Args:
        output: the folder.
        source: the folder of the input that corresponds to the first of ``made``.
        made: names of what this command makes in the output folder.

    Raises:
        UsageError: it is the input, or it holds data that this command did not make, or made of another input.
    """
    from siftvton.files import is_file
    from siftvton.settings import differences

    folder, saved = output / made[0], output / CONFIGURATION
    if folder.resolve() == source.resolve():
        raise UsageError(f"output={output}: holds the input itself in {folder}; name another output")
    if is_file(saved):
        changed = [line for line in differences(config, saved) if line.startswith("input:")]
        if changed:
            raise UsageError(f"output={output}: holds data of another input ({changed[0]}); use another folder")
        return False
    found = [path for path in (output / name for name in made) if os.path.lexists(path)]
    if found:
        raise UsageError(f"output={output}: holds data that this command did not make ({found[0]}); use another folder")
    return True


def _summary(batch: "Batch", folder: Path, sheets: list[Path], remarks: list[str]) -> str:
    """Return what was made, where to look at it, and the remarks."""
    kept = f", {batch.kept} of them by an earlier run" if batch.kept else ""
    prepared = f"{counted(len(batch.persons), 'person')} and {counted(len(batch.garments), 'garment')}"
    lines = [f"{folder}: {prepared} are prepared{kept}"]
    if sheets:
        lines.append(f"Look at {', '.join(map(str, sheets))} before anything else: is each mask right?")
    return "\n".join([*lines, *(f"- {remark}" for remark in remarks), "", ""])


def _checked(layout: "Layout", split: str, size: tuple[int, int]) -> str:
    """Return the report of ``check_data`` on the split."""
    from siftvton.data.readiness import inspect_part, parts_of, readiness_report

    parts = parts_of(layout, split)
    for part in parts:
        inspect_part(part, layout, size, layout.split(split).matches, size)
    return readiness_report(layout.root, parts)[0]


COMMAND = Command(Prepare, prepare, "vitonhd.yaml")
