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
    matches = Path(config.output) / "matches"
    places = {"base": str(Path(config.output) / BASE / "seed-0" / "run" / "model"), "matches": str(matches)}
    arms = {arm: keys.format(**places).split() for arm, keys in config.arms.items()}
    runs = [(arm, seed) for seed in config.seeds for arm in arms]
    if config.base_arm:
        arms[BASE] = config.base_arm.format(**places).split()
        runs.insert(0, (BASE, 0))
    waiting = [(arm, seed) for arm, seed in runs if not _is_measured(config, arm, seed, arms[arm])]
    if waiting:
        _prepare(config, matches)
    for arm, seed in tqdm(waiting, unit="arm", disable=not waiting):
        write_json(_measures_path(config, arm, seed), _measured(config, arm, seed, arms[arm]))
        write_report(config)
    print(write_report(config), end="")


def _measures_path(config: Experiment, arm: str, seed: int) -> Path:
    return Path(config.measures) / f"{arm}-seed-{seed}.json"


def _is_measured(config: Experiment, arm: str, seed: int, keys: Sequence[str]) -> bool:
    path = _measures_path(config, arm, seed)
    if not path.is_file():
        return False
    before = json.loads(path.read_text(encoding="utf-8"))["keys"]
    if _without_folder(config, before) != _without_folder(config, keys):
        raise UsageError(f"{path}: of other keys ({' '.join(before)}); name another folder by measures")
    return True


def _without_folder(config: Experiment, keys: Sequence[str]) -> list[str]:
    return [key.replace(config.output, "") for key in keys]


def _prepare(config: Experiment, matches: Path) -> None:
    """The toy world and every set of matches."""
    log = Path(config.output) / "prepare.txt"
    _run(config, "make_toy_data.py", log, f"output={config.data.root}")
    for preset in ("published", "paper"):
        _run(config, "preprocess_sift.py", log, f"preset={preset}", f"output={matches / preset}")
    write_match_sets(config.data.root, matches / "published", matches)


def _measured(config: Experiment, arm: str, seed: int, keys: Sequence[str]) -> dict[str, Any]:
    """Train, sample and score one arm; what its measures' file holds."""
    folder = Path(config.output) / arm / f"seed-{seed}"
    log, run = folder / "log.txt", folder / "run"
    afresh, began = not run.exists(), time.perf_counter()
    _run(config, "train.py", log, f"output={run}", f"train.seed={seed}", *keys, processes=config.processes)
    seconds = time.perf_counter() - began
    scores: dict[str, float] = {}
    errors: dict[str, float] = {}
    for setting in ("unpaired", "paired"):
        results, given = folder / setting, (f"setting={setting}", f"predictions={folder / setting}", "others=0")
        _run(
            config, "infer.py", log, f"checkpoint={run / 'model'}", f"output={results}", given[0],
            processes=config.processes,
        )  # fmt: skip
        _run(config, "evaluate_toy.py", log, *given, f"output={folder / 'toy' / setting}")
        _run(
            config, "evaluate.py", log, given[0], f"predictions.{arm}={results}",
            f"output={folder / 'scores' / setting}",
        )  # fmt: skip
        toy = _read(folder / "toy" / setting / "toy.json")
        for name in ("print_error", "print_similarity", "colour_distance"):
            scores[f"{name}_{setting}"] = toy[name]["value"]
        if setting == "unpaired":
            with (folder / "toy" / setting / "toy_per_image.csv").open(encoding="utf-8", newline="") as file:
                errors = {
                    row["result"]: float(row["print_error"]) for row in csv.DictReader(file) if row["print_error"]
                }
        scores |= {
            f"{name.removeprefix('autoencoder_')}_{setting}": value
            for name, value in _read(folder / "scores" / setting / "metrics.json")["results"][arm]["scores"].items()
        }
    _run(config, "attention_error.py", log, f"checkpoint={run / 'model'}", f"output={folder / 'attention'}")
    attention = _read(folder / "attention" / "attention_error.json")
    for name in ("attention_error_px", "attention_pck"):
        scores[name] = attention[name]["value"]
        for layer in attention["layers"].values():
            scores[f"{name}_{layer['grid'][0]}x{layer['grid'][1]}"] = layer[name]
    if afresh:  # else it is not known
        scores["training_seconds"] = seconds
    return {"arm": arm, "seed": seed, "keys": list(keys), "measures": scores, "per_image": {PRIMARY: errors}}


def _run(config: Experiment, script: str, log: Path, *keys: str, processes: int = 1) -> None:
    cores = os.cpu_count() or 1
    processes = processes or cores
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)] if processes > 1 else []
    command = [sys.executable, *launch, str(SCRIPTS / script), "--config", config.settings, *keys]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n")
        file.flush()
        environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, cores // processes))}
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
    if done.returncode:
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-1]
        raise InputError(f"{script} {' '.join(keys)} failed: {last} ({log} has all of it)")


def _read(path: Path) -> Mapping[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
