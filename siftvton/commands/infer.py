"""Try garments on persons: ``python scripts/infer.py --config configs/vitonhd.yaml key=value …``"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from siftvton.commands import Command
from siftvton.data.config import HeldOutData
from siftvton.errors import InputError, UsageError
from siftvton.options import MANY, option
from siftvton.sampling.config import ExecutionConfig, SamplingConfig, WeightChanges

if TYPE_CHECKING:
    from siftvton.data.dataset import TryOnDataset


@dataclass
class Infer(WeightChanges, SamplingConfig):
    """Try garments on persons (paper §4.1: PLMS, 50 steps, guidance 1.5)."""

    checkpoint: str = option(
        "outputs/train/model",
        "weights to use: a saved pipeline's folder, a published .ckpt or .safetensors file, or a Hugging Face "
        "repository",
        path=True,
    )
    data: HeldOutData = field(default_factory=HeldOutData)
    setting: str = option(
        "unpaired",
        "paired: try on the worn garment; unpaired: try on the garment in the pair list",
        choices=("paired", "unpaired"),
    )
    output: str = option("outputs/infer", "folder for the pictures", path=True)
    limit: int | None = option(
        None, "number of pairs to use, from the start of the pair list; null: all", minimum=1, maximum=MANY
    )
    batch_size: int = option(4, "number of pictures to process at once", minimum=1, maximum=10**6)
    format: str = option("jpg", "file format of the pictures; jpg has quality 95", choices=("jpg", "png"))
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    strict: bool = option(
        False, "stop at the first pair that fails, instead of listing it and continuing with the others"
    )


SAME_RESULT = ("device", "compile", "channels_last", "vae_slicing", "offload")  # keys that change results by rounding
UNKNOWN_DTYPE = "execution.dtype: auto -> "  # results of earlier versions do not say which format it was
SAVED = "infer.yaml"  # file in the output folder: the configuration of the results
WEIGHTS = "weights.sha256"  # file in the output folder: the digest of the weights that made the results


def infer(config: Infer, dataset_type: "Callable[..., TryOnDataset] | None" = None) -> str:
    """Write ``<person id>_<garment id>.<format>`` for each pair; skip pairs that already have a whole picture.

    Several processes share the list. An error of one process ends all of them.

    Args:
        config: the configuration.
        dataset_type: makes the items, with the arguments of ``TryOnDataset``; None: ``TryOnDataset``.

    Returns:
        The number of pictures and their folder; empty in all processes but the main one.

    Raises:
        UsageError: the output folder holds inputs or results of another configuration, or the size or the number of
            steps is not allowed.
        InputError: the checkpoint or the data cannot be read; or, once all other pairs are done, some pairs failed.
    """
    from accelerate.utils import gather_object

    from siftvton.data.dataset import TryOnDataset
    from siftvton.devices import errors_shared, on_main, process_state
    from siftvton.files import write_text
    from siftvton.sampling.changes import load_changed
    from siftvton.sampling.execution import dtype_of, place, use_scheduler
    from siftvton.sampling.loading import upper_body_note
    from siftvton.sampling.results import Results, write_results
    from siftvton.settings import save_configuration
    from siftvton.wording import counted

    state = process_state()
    output, (height, width) = Path(config.output), config.data.size
    results = Results(output, config.format, config.data.size)
    with errors_shared():
        dtype = dtype_of(config.execution)
    # The number format that `auto` stands for here is part of the configuration of the results.
    config = replace(config, execution=replace(config.execution, dtype=str(dtype).removeprefix("torch.")))
    digest = on_main(lambda: require_same_results(config, output))
    with errors_shared():
        split = config.data.open().split(config.data.split)
        pairs = split.pairs(config.setting)[: config.limit]
        dataset = (dataset_type or TryOnDataset)(split, pairs, height, width)
        _require_inputs_elsewhere(config, dataset)
        pipeline = load_changed(config.checkpoint, dtype, config)
        note = upper_body_note(config.checkpoint, map(split.category, (pair.person for pair in pairs)))
        if note and state.is_main_process:
            print(note)
        use_scheduler(pipeline, config.scheduler)
        pipeline.require_size(height, width)
        pipeline.require_steps(config.steps)
        pipeline.set_progress_bar_config(disable=True)
        place(pipeline, config.execution)

    def record() -> None:
        save_configuration(config, output / SAVED)
        write_text(output / WEIGHTS, digest)

    on_main(record)
    with errors_shared():
        waiting = results.waiting(pairs, state)
        own = write_results(pipeline, dataset, waiting, results, config, config.batch_size, config.strict)
    failures: list[tuple[int, str]] = sorted(gather_object(list(own.items())))
    on_main(lambda: results.write_sheet(dataset))
    if failures and state.is_main_process:
        lines = [f"{pairs[index].result_id}: {reason}" for index, reason in failures]
        raise InputError(f"{len(failures)} of {counted(len(pairs), 'pair')} failed:\n  " + "\n  ".join(lines))
    return f"{output}: {counted(len(pairs), 'picture')}" if state.is_main_process else ""


def _require_inputs_elsewhere(config: Infer, dataset: "TryOnDataset") -> None:
    """Refuse an output folder with pictures of the data or with weights, because results would mix with them.

    Raises:
        UsageError: the output is the data's folder, or a folder with files that are read, or is in such a folder.
    """
    from siftvton.data.layouts.base import GARMENT
    from siftvton.places import require_outside

    output, root, split = Path(config.output), config.data.root, dataset.split
    if output.resolve() == Path(root).resolve():
        require_outside(output, [root], f"data.root={root}")
    read = {(kind, pair.person) for pair in dataset.pairs for kind in dataset.person_kinds}
    read |= {(GARMENT, pair.garment) for pair in dataset.pairs}
    folders = {path.parent for kind, name in read for path in split.candidates(kind, name)}
    require_outside(output, sorted(folders), f"data.root={root}")
    for key in ("checkpoint", "autoencoder", "lora"):
        weights = getattr(config, key)
        if weights and Path(weights).is_dir():
            require_outside(output, [weights], f"{key}={weights}")


def require_same_results(config: Infer, folder: Path, key: str = "output") -> str:
    """Return the digest of the weights; refuse a folder with results of other weights or another configuration.

    Args:
        config: the configuration of the results that are expected there.
        folder: the folder; it may be empty or missing.
        key: the key that names the folder, for the message.

    Raises:
        UsageError: the folder holds other results.
    """
    from siftvton.files import read_bytes
    from siftvton.sampling.changes import digests
    from siftvton.settings import differences

    digest = "".join(digests(config.checkpoint, config).values())
    saved, weights = folder / SAVED, folder / WEIGHTS
    free = ("limit", "batch_size", "strict", "output", "data.layout", *(f"execution.{key}" for key in SAME_RESULT))
    changed = differences(config, saved) if saved.is_file() else []
    changed = [line for line in changed if line.partition(":")[0] not in free and not line.startswith(UNKNOWN_DTYPE)]
    if weights.is_file() and read_bytes(weights) != digest.encode():
        changed.append(f"checkpoint={config.checkpoint}: other weights")
    if changed:
        raise UsageError(
            f"{key}={folder}: holds results of another configuration ({'; '.join(changed)}); use another folder"
        )
    return digest


COMMAND = Command(Infer, infer, "vitonhd.yaml")
