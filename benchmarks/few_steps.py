"""How close samplers come to PLMS with 50 steps if they take only a few: distance, toy measures and time.

python benchmarks/few_steps.py --config configs/toy.yaml data.root=data/toy limit=40        on the toy world
python benchmarks/few_steps.py checkpoint=MODEL data.root=data/vitonhd limit=40             on other weights and data

All keys of `scripts/infer.py` are allowed; `scheduler` and `steps` have no effect, because they are what is compared.
Every sampler starts from the same noise. The distance to the result of PLMS is measured in the painted region: the root
of the mean squared difference in grey levels, and SSIM. Two rows give the scale: PLMS with another seed shows what the
noise alone changes, and UniPC with as many steps shows what the sampler alone changes. In the toy world the right
picture is known, so the results are also compared with it, as `evaluate_toy` does.

The time of a picture is CPU time on a CPU and elapsed time on a GPU, with encoding and decoding. The pictures, a sheet
of the first pairs, `few_steps.md` and `few_steps.json` go to the output folder; the tables are written after every row.
All samplers together predict about 400 times for each picture.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arguments import parser_of
from diffusers import PNDMScheduler, UniPCMultistepScheduler
from results import table
from tqdm import tqdm

from siftvton import cli
from siftvton.commands.infer import Infer
from siftvton.data.dataset import TryOnBatch, TryOnDataset, as_picture, collate
from siftvton.drawing import contact_sheet
from siftvton.errors import InputError, UsageError
from siftvton.files import is_file, write_image, write_json, write_text
from siftvton.sampling.batch import generate
from siftvton.sampling.execution import dtype_of, place, use_scheduler
from siftvton.sampling.loading import load
from siftvton.sampling.pipeline import with_timesteps
from siftvton.sampling.results import Results
from siftvton.toy.measures import GroundTruth, cases_of, compared, error_and_similarity, ground_truth_of, summary
from siftvton.toy.world.write import WORLD_FILE

PLMS, FULL = PNDMScheduler.__name__, 50
UNIPC = UniPCMultistepScheduler.__name__
SAMPLERS = {  # those that predict once a step and draw no noise on the way, so that they approach the same picture
    PLMS: "PLMS",
    UNIPC: "UniPC",
    "DPMSolverMultistepScheduler": "DPM-Solver++ 2M",
    "DEISMultistepScheduler": "DEIS",
    "LMSDiscreteScheduler": "LMS",
    "EulerDiscreteScheduler": "Euler",
    "DDIMScheduler": "DDIM",
}
STEPS = (5, 10, 20)
SHEET_ROWS = 4
LEVELS = 255
TOY = {  # the toy measures in the table
    "print_error": "print error",
    "print_similarity": "print SSIM",
    "colour_distance": "colour distance",
}
COLUMNS = {
    "sampler": "sampler",
    "steps": "steps",
    "predictions": "predictions",
    "rmse": "RMSE",
    "ssim": "SSIM",
    **TOY,
    "seconds": "seconds",
    "error": "error",
}


class Comparison:
    """A pipeline and the pairs that every sampler draws.

    Attributes:
        painted: for each pair, (H, W) bool: where the network paints.
    """

    def __init__(self, config: Infer) -> None:
        """
        Raises:
            InputError, UsageError: as ``infer``.
        """
        self.config, self.output = config, Path(config.output)
        self.split = config.data.open().split(config.data.split)
        self.pairs = self.split.pairs(config.setting)[: config.limit]
        self.dataset = TryOnDataset(self.split, self.pairs, *config.data.size)
        self.pipeline = load(config.checkpoint, dtype_of(config.execution))
        self.pipeline.require_size(*config.data.size)
        self.pipeline.set_progress_bar_config(disable=True)
        place(self.pipeline, config.execution)
        self.painted = [self.dataset[index].keep_mask[0].numpy() < 1 for index in range(len(self.pairs))]

    def folder(self, scheduler: str, steps: int, seed: int) -> Path:
        """The folder of a sampler's pictures."""
        return self.output / f"{scheduler}-{steps}-seed-{seed}"

    def sample(self, scheduler: str, steps: int, seed: int) -> tuple[list[np.ndarray], dict[str, float]]:
        """Sample all pairs, and write the pictures.

        Returns:
            The pictures, (H, W, 3) uint8 each; and how often the network predicts for a picture, and its seconds.

        Raises:
            UsageError: the sampler does not allow this number of steps. NotFiniteError: a result is NaN or infinite.
        """
        use_scheduler(self.pipeline, scheduler)
        predictions = len(with_timesteps(self.pipeline.scheduler, steps).timesteps)
        clock = time.perf_counter if self.pipeline.device.type == "cuda" else time.process_time
        results = Results(self.folder(scheduler, steps, seed), "png", self.config.data.size)
        pictures: list[np.ndarray] = []
        seconds = 0.0
        for batch in self._batches():
            start = clock()
            pictures += generate(
                self.pipeline, batch, seed, steps, self.config.guidance, self.config.start, self.config.paste_back
            )  # the pictures are in main memory now, so a GPU has finished
            seconds += clock() - start
        for pair, picture in zip(self.pairs, pictures, strict=True):
            write_image(results.path(pair), picture)
        return pictures, {"predictions": predictions, "seconds": seconds / len(pictures)}

    def _batches(self) -> Iterator[TryOnBatch]:
        size = self.config.batch_size
        for first in range(0, len(self.pairs), size):
            yield collate([self.dataset[index] for index in range(first, min(first + size, len(self.pairs)))])

    def known(self, results: Path) -> list[GroundTruth]:
        """What is known about the pairs of a toy world; empty for other data.

        Args:
            results: a folder with a result for each pair.
        """
        if not is_file(Path(self.config.data.root) / WORLD_FILE):
            return []
        cases = cases_of(self.split, self.pairs, results, self.config.data.size, others=0, seed=0)
        return [ground_truth_of(case) for case in tqdm(cases, desc="rendering the truth", unit="pair")]

    def rows(self, samplers: Sequence[str], counts: Sequence[int]) -> Iterator[dict[str, Any]]:
        """The rows of the table; also writes a sheet of pictures for each number of steps.

        Args:
            samplers: class names. counts: numbers of steps.
        """
        seed = self.config.seed
        reference, cost = self.sample(PLMS, FULL, seed)
        known = self.known(self.folder(PLMS, FULL, seed))

        def row(title: str, steps: int, pictures: Sequence[np.ndarray], cost: Mapping[str, float]) -> dict[str, Any]:
            measured = {**distances(pictures, reference, self.painted), **toy_measures(pictures, known)}
            return {"sampler": title, "steps": steps, **cost, **measured}

        yield row(f"{SAMPLERS[PLMS]}, the reference", FULL, reference, cost)
        for steps in counts:
            columns = {f"{SAMPLERS[PLMS]} {FULL}": reference}
            for name in samplers:
                title = SAMPLERS.get(name, name)
                try:
                    pictures, cost = self.sample(name, steps, seed)
                except (UsageError, InputError) as error:  # the other samplers still count
                    yield {"sampler": title, "steps": steps, "error": str(error)}
                    continue
                columns[f"{title} {steps}"] = pictures
                yield row(title, steps, pictures, cost)
            write_image(self.output / f"steps-{steps}.png", self._sheet(columns))
        yield row(f"{SAMPLERS[PLMS]}, another seed", FULL, *self.sample(PLMS, FULL, seed + 1))
        yield row(f"{SAMPLERS[UNIPC]}, as many steps", FULL, *self.sample(UNIPC, FULL, seed))

    def _sheet(self, columns: Mapping[str, Sequence[np.ndarray]]) -> np.ndarray:
        """A sheet of the first pairs: photo, garment and the picture of each sampler."""
        rows = []
        for index in range(min(SHEET_ROWS, len(self.pairs))):
            item = self.dataset[index]
            rows.append([as_picture(item.image), as_picture(item.garment), *(each[index] for each in columns.values())])
        return contact_sheet(rows, [["photo", "garment", *columns]] * len(rows))


def distances(
    pictures: Sequence[np.ndarray], reference: Sequence[np.ndarray], painted: Sequence[np.ndarray]
) -> dict[str, float]:
    """Means over the pairs, in the painted region: root of the mean squared difference in grey levels, and SSIM."""
    found = [error_and_similarity(*each) for each in zip(pictures, reference, painted, strict=True)]
    errors, similarities = zip(*found, strict=True)
    return {"rmse": float(LEVELS * np.sqrt(errors).mean()), "ssim": float(np.mean(similarities))}


def toy_measures(pictures: Sequence[np.ndarray], known: Sequence[GroundTruth]) -> dict[str, float]:
    """The measures of ``TOY``, means over the pairs; empty if nothing is known about the pairs."""
    if not known:
        return {}
    report = summary([compared(*each) for each in zip(pictures, known, strict=True)])
    return {name: report[name]["value"] for name in TOY if name in report}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--config", default=str(cli.CONFIGS / "vitonhd.yaml"), help="YAML file with keys of infer")
    parser.add_argument("--samplers", nargs="+", default=tuple(SAMPLERS), help="class names in diffusers")
    parser.add_argument("--steps", nargs="+", type=int, default=STEPS)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="keys of infer; give them before --samplers")
    given = parser.parse_args(arguments)
    try:
        config = cli.load(Infer, given.config, ["output=outputs/few_steps", *given.overrides])
        comparison = Comparison(config)
    except (UsageError, InputError) as error:
        parser.error(str(error))
    conditions = {
        "checkpoint": config.checkpoint,
        "pairs": len(comparison.pairs),
        "size": list(config.data.size),
        "guidance": config.guidance,
        "batch_size": config.batch_size,
        "device": str(comparison.pipeline.device),
        "dtype": str(comparison.pipeline.dtype),
        "threads": torch.get_num_threads(),
    }
    rows: list[dict[str, Any]] = []
    for row in comparison.rows(given.samplers, given.steps):
        print(row, flush=True)
        rows.append(row)
        write_json(comparison.output / "few_steps.json", {**conditions, "rows": rows})
        write_text(comparison.output / "few_steps.md", table(COLUMNS, rows) + "\n")
    print(table(COLUMNS, rows))


if __name__ == "__main__":
    main()
