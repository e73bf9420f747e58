"""Try one garment on one person: ``python scripts/tryon.py person=photo.jpg garment=garment.jpg key=value …``"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from siftvton.commands import Command
from siftvton.data.config import PictureSize
from siftvton.errors import InputError, UsageError
from siftvton.options import option
from siftvton.prepare.config import ModelsConfig, PhotoConfig
from siftvton.sampling.config import ExecutionConfig, SamplingConfig, WeightChanges

if TYPE_CHECKING:
    import numpy as np

    from siftvton.app.tryon import Garment, Person, Result

MOST = 64  # results of one call
INPUTS = ("person", "garment", "pose", "parsing", "densepose", "mask", "person_mask", "garment_mask")
IN_A_ROW = 6  # pictures on the sheet of results


@dataclass
class TryOnOne(WeightChanges, SamplingConfig):
    """Try one garment on one person, and put the result back into the photo."""

    checkpoint: str = option(
        "outputs/train/model",
        "weights to use: a saved pipeline's folder, a published .ckpt or .safetensors file, or a Hugging Face "
        "repository",
        path=True,
    )
    data: PictureSize = field(default_factory=PictureSize)
    person: str | None = option(None, "photo of the person; required", path=True)
    garment: str | None = option(None, "picture of the flat garment on a light background; required", path=True)
    pose: str | None = option(None, "path of the photo's joints, OpenPose's JSON; null: a model finds them", path=True)
    parsing: str | None = option(None, "path of the photo's parsing labels; null: a model finds them", path=True)
    densepose: str | None = option(
        None, "path of the photo's DensePose, a rendering or labels; null: a model finds it", path=True
    )
    mask: str | None = option(
        None, "path of the photo's agnostic mask, white where the garment is painted; null: draw it", path=True
    )
    person_mask: str | None = option(
        None,
        "path of the person's mask, white on the person; it limits an agnostic mask that is drawn without parsing; "
        "null: none",
        path=True,
    )
    garment_mask: str | None = option(
        None, "path of the garment's mask, white on the garment; null: find it by the background", path=True
    )
    photo: PhotoConfig = field(default_factory=PhotoConfig)
    models: ModelsConfig = field(default_factory=ModelsConfig)
    results: int = option(1, "number of results, with seed, seed + 1, …", minimum=1, maximum=MOST)
    preview: bool = option(False, "only prepare photo and garment, and draw the sheet")
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    output: str = option("outputs/tryon", "folder for the pictures", path=True)


def tryon(config: TryOnOne) -> str:
    """Write ``sheet.png``, which shows what was prepared, and ``<person>_<garment>.png`` in the photo's own size.

    With several results, each file name ends with its seed, and ``results.png`` shows them side by side.

    Returns:
        The paths of the pictures, and remarks.

    Raises:
        UsageError: no person or no garment is given, or the size, the sampler or the device is not allowed.
        InputError: a file cannot be read, a photo or a garment cannot be prepared, or a result is NaN or infinite.
    """
    from tqdm import tqdm

    from siftvton.app.tryon import Preparation, TryOn
    from siftvton.devices import device_of
    from siftvton.drawing import contact_sheet
    from siftvton.files import write_image
    from siftvton.sampling.changes import require_present
    from siftvton.sampling.loading import upper_body_note
    from siftvton.settings import save_configuration

    if config.person is None or config.garment is None:
        raise UsageError("person and garment are required; give person=<photo> garment=<picture of the flat garment>")
    output = Path(config.output)
    _require_inputs_elsewhere(config)
    if not config.preview:
        require_present(config.checkpoint, config)  # missing weights are reported before minutes of preparation
    preparation = Preparation(config.photo, config.models, device_of(config.execution.device))
    person = preparation.person(
        config.person,
        pose=config.pose,
        parsing=config.parsing,
        densepose=config.densepose,
        mask=config.mask,
        person_mask=config.person_mask,
    )
    garment = preparation.garment(config.garment, mask=config.garment_mask)
    preparation.record(output)
    write_image(output / "sheet.png", _sheet(person, garment))
    save_configuration(config, output / "tryon.yaml")
    remarks = [f"- {remark}" for remark in (*person.prepared.remarks, *garment.prepared.remarks)]
    if config.preview:
        return "\n".join([f"{output / 'sheet.png'}: is the mask right?", *remarks])

    try:
        person.require_densepose()
    except InputError as error:
        raise InputError("\n  ".join([str(error), *preparation.finder.missing.values()])) from error
    if note := upper_body_note(config.checkpoint, [config.photo.category]):
        print(note)
    dresser = TryOn(
        config.checkpoint, *config.data.size, changes=config, sampling=config.alone(), execution=config.execution
    )
    found: list[Result] = []
    lines = []
    for seed in range(config.seed, config.seed + config.results):
        with tqdm(unit="step", desc=f"seed {seed}") as bar:

            def show(done: int, steps: int, bar: tqdm = bar) -> None:
                bar.total = steps
                bar.update()

            result = dresser(person, garment, seed=seed, progress=show)
        ending = f"_{seed}" if config.results > 1 else ""
        path = output / f"{person.name}_{garment.name}{ending}.png"
        write_image(path, result.picture)
        found.append(result)
        lines.append(str(path))
    if config.results > 1:
        write_image(output / "results.png", contact_sheet(*_compared(person, garment, found)))
        lines.append(str(output / "results.png"))
    return "\n".join([*lines, *remarks])


def _require_inputs_elsewhere(config: TryOnOne) -> None:
    """Refuse an output folder that holds an input, because a result may have its name.

    Raises:
        UsageError: a given file is in the output folder.
    """
    for key in INPUTS:
        given = getattr(config, key)
        if given is not None and Path(given).resolve().parent == Path(config.output).resolve():
            raise UsageError(
                f"output={config.output}: holds {key}={given}, which a result could replace; use another folder"
            )


def _sheet(person: "Person", garment: "Garment") -> "np.ndarray":
    """Draw what was prepared: joints, parsing, DensePose, mask, agnostic picture and garment."""
    from siftvton.drawing import contact_sheet
    from siftvton.prepare.sheet import person_tiles

    tiles, captions = person_tiles(person.prepared, person.name)
    return contact_sheet([[*tiles, garment.prepared.picture]], [[*captions, garment.name]])


def _compared(
    person: "Person", garment: "Garment", results: "list[Result]"
) -> "tuple[list[list[np.ndarray]], list[list[str]]]":
    """Return the rows of a sheet and their captions: photo, garment and results, a few in a row."""
    tiles = [person.prepared.photo, garment.prepared.picture, *(result.framed() for result in results)]
    captions = [person.name, garment.name, *(f"seed {result.sampling.seed}" for result in results)]
    starts = range(0, len(tiles), IN_A_ROW)
    return (
        [tiles[start : start + IN_A_ROW] for start in starts],
        [captions[start : start + IN_A_ROW] for start in starts],
    )


COMMAND = Command(TryOnOne, tryon, "vitonhd.yaml")
