"""An experiment: every arm trained from its seeds and measured alike, by the same commands that a user has.

Whatever is done stays: a training goes on from its checkpoint, a measured arm is not trained again.
"""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from siftvton.config import Experiment
from siftvton.errors import InputError, UsageError
from siftvton.experiment.match_sets import write_match_sets
from siftvton.experiment.table import PRIMARY, write_report
from siftvton.files import write_json

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
BASE = "base"  # the arm that others may start from


def experiment(config: Experiment) -> None:
    """Train and measure what is not yet measured; write the tables after every arm.

    Raises:
        UsageError: an arm was measured with other keys, or `reference` is none of the arms.
        InputError: a command failed; its last line and its log are named.
    """
    if config.reference not in config.arms:
        raise UsageError(f"reference={config.reference}: allowed are {', '.join(config.arms)}")
    runs = [(arm, seed, keys) for seed in config.seeds for arm, keys in config.arms.items()]
    if config.base_arm:
        runs.insert(0, (BASE, 0, config.base_arm))
    for _, _, keys in runs:
        _in_place(config, keys)
    waiting = [run for run in runs if not _is_measured(config, *run)]
    if waiting:
        _prepare(config)
        if config.base_arm and runs[0] not in waiting and not _base(config).is_dir():
            waiting.insert(0, runs[0])  # its measures are there, its weights are not
    for arm, seed, keys in tqdm(waiting, unit="arm", disable=not waiting):
        write_json(_measures_path(config, arm, seed), _measured(config, arm, seed, keys))
        write_report(config)
    print(write_report(config), end="")


def _base(config: Experiment) -> Path:
    return Path(config.output) / BASE / "seed-0" / "run" / "model"


def _matches(config: Experiment) -> Path:
    return Path(config.output) / "matches"


def _in_place(config: Experiment, keys: str) -> list[str]:
    """An arm's keys, one by one, with the places of this experiment in them."""
    try:
        return keys.format(base=_base(config), matches=_matches(config)).split()
    except (KeyError, IndexError, ValueError) as error:
        raise UsageError(f"arms: {keys}: fields {{base}} and {{matches}} are allowed") from error


def _measures_path(config: Experiment, arm: str, seed: int) -> Path:
    return Path(config.measures) / f"{arm}-seed-{seed}.json"


def _is_measured(config: Experiment, arm: str, seed: int, keys: str) -> bool:
    path = _measures_path(config, arm, seed)
    if not path.is_file():
        return False
    before = json.loads(path.read_text(encoding="utf-8"))["keys"]
    if before != keys:
        raise UsageError(f"{path}: of other keys ({before}); name another folder by measures")
    return True


def _prepare(config: Experiment) -> None:
    """The toy world and every set of matches."""
    log, matches = Path(config.output) / "prepare.txt", _matches(config)
    _run(config, "make_toy_data.py", log, f"output={config.data.root}")
    for preset in ("published", "paper"):
        _run(config, "preprocess_sift.py", log, f"preset={preset}", f"output={matches / preset}")
    write_match_sets(config.data.root, matches / "published", matches)


def _measured(config: Experiment, arm: str, seed: int, keys: str) -> dict[str, Any]:
    """Train, sample and score one arm; what its measures' file holds."""
    folder = Path(config.output) / arm / f"seed-{seed}"
    measures = _trained(config, folder, seed, _in_place(config, keys))
    errors: dict[str, float] = {}
    for setting in ("paired", "unpaired"):
        of_setting, errors = _sampled(config, arm, folder, setting)  # in the end, those of the primary measure
        measures |= of_setting
    measures |= _attention(config, folder)
    return {"arm": arm, "seed": seed, "keys": keys, "measures": measures, "per_image": {PRIMARY: errors}}


def _trained(config: Experiment, folder: Path, seed: int, keys: Sequence[str]) -> dict[str, float]:
    """Images a second, start and end included; nothing of a run that was stopped in between."""
    run = folder / "run"
    afresh, began = not run.exists(), time.perf_counter()
    given = (f"output={run}", f"train.seed={seed}", *keys)
    _run(config, "train.py", folder / "log.txt", *given, processes=config.processes)
    seconds = time.perf_counter() - began
    (last, *_) = sorted((run / "checkpoints").glob("update-*"), reverse=True)
    progress = _read(last / "progress.json")
    return {"images_per_second": progress["update"] * progress["images"] / seconds} if afresh else {}


def _sampled(config: Experiment, arm: str, folder: Path, setting: str) -> tuple[dict[str, float], dict[str, float]]:
    """The measures of one setting's results, and the print error of each that has a print."""
    log, results, toy, scores = (
        folder / "log.txt", folder / setting, folder / "toy" / setting, folder / "scores" / setting,
    )  # fmt: skip
    given = f"checkpoint={folder / 'run' / 'model'}", f"output={results}", f"setting={setting}"
    _run(config, "infer.py", log, *given, processes=config.processes)
    _run(config, "evaluate_toy.py", log, f"setting={setting}", f"predictions={results}", "others=0", f"output={toy}")
    _run(config, "evaluate.py", log, f"setting={setting}", f"predictions.{arm}={results}", f"output={scores}")
    found = _read(toy / "toy.json")
    measures = {name: found[name]["value"] for name in ("print_error", "print_similarity", "colour_distance")}
    of_set = _read(scores / "metrics.json")["results"][arm]["scores"]
    measures |= {name.removeprefix("autoencoder_"): value for name, value in of_set.items()}
    with (toy / "toy_per_image.csv").open(encoding="utf-8", newline="") as file:
        errors = {row["result"]: float(row["print_error"]) for row in csv.DictReader(file) if row["print_error"]}
    return {f"{name}_{setting}": value for name, value in measures.items()}, errors


def _attention(config: Experiment, folder: Path) -> dict[str, float]:
    output = folder / "attention"
    given = f"checkpoint={folder / 'run' / 'model'}", f"output={output}"
    _run(config, "attention_error.py", folder / "log.txt", *given)
    report = _read(output / "attention_error.json")
    measures = {}
    for name in ("attention_error_px", "attention_pck"):
        measures[name] = report[name]["value"]
        for layer in report["layers"].values():
            measures[f"{name}_{layer['grid'][0]}x{layer['grid'][1]}"] = layer[name]
    return measures


def _run(config: Experiment, script: str, log: Path, *keys: str, processes: int = 1) -> None:
    cores = os.cpu_count() or 1
    processes = processes or cores
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)] if processes > 1 else []
    root = [] if script == "make_toy_data.py" else [f"data.root={config.data.root}"]  # its output is the root
    command = [sys.executable, *launch, str(SCRIPTS / script), "--config", config.settings, *root, *keys]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n")
        file.flush()
        environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, cores // processes))}
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
    if done.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        own = [line for line in lines if line.startswith(f"{script}: ")]  # torchrun says more after it
        raise InputError(f"{script} {' '.join(keys)} failed: {(own or lines)[-1]} ({log} has all of it)")


def _read(path: Path) -> Mapping[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
