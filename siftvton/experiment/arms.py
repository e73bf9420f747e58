"""An experiment: train every arm with several seeds, and measure all in the same way, by the commands that users run.

Work that is done is not repeated: a training continues from its checkpoint, and a measured arm is not trained again.
"""

import csv
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from siftvton.errors import InputError, UsageError
from siftvton.experiment.config import Experiment
from siftvton.experiment.results import PRIMARY, read_entry, write_report
from siftvton.files import read_json, write_json
from siftvton.hub import local
from siftvton.settings import load_configuration
from siftvton.toy.match_sets import write_match_sets
from siftvton.training.config import Train

ARM = re.compile(r"[\w.-]*\w")  # names folders and files
Run = tuple[str, int, str]  # arm, seed, train.py's keys


def experiment(config: Experiment) -> str:
    """Train and measure every arm that is not measured yet; write the tables after each arm.

    Returns:
        The Markdown tables.

    Raises:
        UsageError: an arm was measured with other keys or on the other split, a reference is not an arm, or the name
            of an arm cannot name a folder.
        InputError: a command failed (the message has its last line and its log), a file of measures is broken, or the
            weights of the base are missing.
    """
    _check(config)
    runs = [(arm, seed, keys) for seed in config.seeds for arm, keys in config.arms.items()]
    for _, _, keys in runs:
        _in_place(config, keys)
    waiting = [run for run in runs if not _is_measured(config, *run)]
    if any("{base}" in keys for _, _, keys in waiting):
        _require_base(config)
    if waiting:
        _prepare(config)
    with tqdm(total=len(waiting), unit="arm", disable=not waiting) as bar:
        for arm, seed, keys, entry in _at_once(config, waiting):
            run = {"arm": arm, "seed": seed, "keys": keys, "split": config.split}
            write_json(_measures_path(config, arm, seed), run | entry)
            write_report(config)
            bar.update()
    return write_report(config)


def _check(config: Experiment) -> None:
    """Raise UsageError for names and folders that are not allowed."""
    for arm in config.arms:
        if not ARM.fullmatch(arm):
            raise UsageError(f"arms.{arm} is not allowed; use a name of letters, digits, '_', '-' and '.'")
    paths = {"output": config.output, "data.root": config.data.root, "base_weights": config.base_weights}
    for key, path in paths.items():
        if set("${}") & set(path):  # the commands would replace them
            raise UsageError(f"{key}={path} is not allowed; use a path without '$', '{{' and '}}' in it")
    named = {"reference": config.reference} | {f"references.{arm}": named for arm, named in config.references.items()}
    for key, name in [*named.items(), *(("references", arm) for arm in config.references)]:
        if name not in config.arms:
            raise UsageError(f"{key}={name} is not allowed; use an arm: {', '.join(config.arms)}")


def _at_once(config: Experiment, runs: Sequence[Run]) -> Iterator[tuple[str, int, str, dict[str, Any]]]:
    """Run up to ``jobs`` runs at the same time; yield each with its measures as soon as it is done."""
    jobs = min(config.jobs or _cores(), max(1, len(runs)))
    pool = ThreadPoolExecutor(jobs)  # its threads only wait for commands
    try:
        going = {pool.submit(_measured, config, *run, threads=max(1, _cores() // jobs)): run for run in runs}
        for done in as_completed(going):
            yield *going[done], done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _require_base(config: Experiment) -> None:
    """Raise InputError before the data are made, which takes long, if the weights of the base are missing."""
    try:
        local(config.base_weights)
    except InputError as error:
        raise InputError(f"base_weights={error}") from error


def _cores() -> int:
    return os.cpu_count() or 1


def _matches(config: Experiment) -> Path:
    return Path(config.output) / "matches"


def _in_place(config: Experiment, keys: str) -> list[str]:
    """Split an arm's keys, and replace {base} and {matches} by this experiment's paths."""
    try:
        return [key.format(base=config.base_weights, matches=_matches(config)) for key in keys.split()]
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(f"arms: {keys} is not allowed; use {{base}} and {{matches}} as the only fields") from error


def _measures_path(config: Experiment, arm: str, seed: int) -> Path:
    return Path(config.measures) / f"{arm}-seed-{seed}.json"


def _is_measured(config: Experiment, arm: str, seed: int, keys: str) -> bool:
    path = _measures_path(config, arm, seed)
    if not path.is_file():
        return False
    before = read_entry(path)
    for name, value in {"keys": keys, "split": config.split}.items():
        if before.get(name) != value:
            raise UsageError(f"{path}: was measured with other {name} ({before.get(name)}); use measures=<new folder>")
    return True


def _prepare(config: Experiment) -> None:
    """Make the toy world and every set of matches."""
    run = partial(_run, config, log=Path(config.output) / "prepare.txt", threads=_cores())
    matches = _matches(config)
    run("make_toy_data", f"output={config.data.root}")
    for preset in ("published", "paper"):
        run("preprocess_sift", "data.split=train", f"preset={preset}", f"output={matches / preset}")
    write_match_sets(config.data.root, matches / "published", matches)


def _measured(config: Experiment, arm: str, seed: int, keys: str, threads: int) -> dict[str, Any]:
    """Train, sample and score one arm with one seed; return its measures."""
    folder = Path(config.output) / arm / f"seed-{seed}"
    run = partial(_run, config, log=folder / "log.txt", threads=threads)
    split = f"data.split={config.split}"
    measures = _trained(run, folder, seed, _in_place(config, keys))
    weights = _weights(folder / "run")
    errors: dict[str, float] = {}
    for setting in ("paired", "unpaired"):
        # The errors of the last setting are PRIMARY.
        of_setting, errors = _sampled(run, arm, folder, setting, split, weights)
        measures |= of_setting
    measures |= _attention(run, folder, split, weights)
    return {"measures": measures, "per_image": {PRIMARY: errors}}


def _trained(run: Callable, folder: Path, seed: int, keys: Sequence[str]) -> dict[str, float]:
    """Train, and return the images per second, start and end included; nothing if the training was interrupted."""
    output = folder / "run"
    is_new, began = not output.exists(), time.perf_counter()
    run("train", f"output={output}", f"train.seed={seed}", *keys)
    seconds = time.perf_counter() - began
    if not is_new:
        return {}
    last = max((output / "checkpoints").glob("update-*"), default=output / "checkpoints")
    update, images = (_number(last / "progress.json", name) for name in ("update", "images"))
    return {"images_per_second": update * images / seconds}


def _weights(run: Path) -> list[str]:
    """The keys that name what a training made: a whole model, or updates and the weights that they adapt."""
    updates = run / "model_lora"
    if not updates.is_dir():
        return [f"checkpoint={run / 'model'}"]
    trained = load_configuration(Train, run / "train.yaml").model
    own = [f"autoencoder={trained.autoencoder}"] if trained.autoencoder else []  # whole models contain it
    return [f"checkpoint={trained.pretrained}", f"lora={updates}", *own]


def _sampled(
    run: Callable, arm: str, folder: Path, setting: str, split: str, weights: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Sample one setting; return the measures of its results, and the print error of each result with a print."""
    results, toy, scores = folder / setting, folder / "toy" / setting, folder / "scores" / setting
    run("infer", split, *weights, f"output={results}", f"setting={setting}")
    run("evaluate_toy", split, f"setting={setting}", f"predictions={results}", "others=0", f"output={toy}")
    run("evaluate", split, f"setting={setting}", f"predictions.{arm}={results}", f"output={scores}")
    means = ["print_error", "print_similarity", "colour_distance"]
    if "perceptual_distance" in _at(toy / "toy.json"):  # if the settings name AlexNet's file
        means.append("perceptual_distance")
    measures = {name: _number(toy / "toy.json", name, "value") for name in means}
    of_set = _at(scores / "metrics.json", "results", arm, "scores")
    measures |= {name.removeprefix("autoencoder_"): value for name, value in of_set.items()}
    with (toy / "toy_per_image.csv").open(encoding="utf-8", newline="") as file:
        errors = {row["result"]: float(row["print_error"]) for row in csv.DictReader(file) if row["print_error"]}
    return {f"{name}_{setting}": value for name, value in measures.items()}, errors


def _attention(run: Callable, folder: Path, split: str, weights: Sequence[str]) -> dict[str, float]:
    output = folder / "attention"
    run("attention_error", split, *weights, "layers=all", f"output={output}")
    report = output / "attention_error.json"
    measures = {}
    for name in ("attention_error_px", "attention_pck"):
        measures[name] = _number(report, name, "value")
        measures |= {f"{name}_{layer}": found[name] for layer, found in _at(report, "layers").items()}
    return measures


def _at(path: Path, *names: str) -> Any:
    """Read the value under nested keys from a JSON file that a command wrote."""
    content = read_json(path)
    for name in names:
        if not isinstance(content, dict) or name not in content:
            raise InputError(f"{path}: has no {'.'.join(names)}; use more pairs, or delete {path.parent} and run again")
        content = content[name]
    return content


def _number(path: Path, *names: str) -> float:
    value = _at(path, *names)
    if not isinstance(value, (int, float)):
        raise InputError(f"{path}: {'.'.join(names)} is {value!r}, not a number; delete {path.parent} and run again")
    return value


def _run(config: Experiment, name: str, *keys: str, log: Path, threads: int) -> None:
    root = [] if name == "make_toy_data" else [f"data.root={config.data.root}"]  # make_toy_data writes the root
    command = [sys.executable, "-m", "siftvton", name, "--config", config.settings, *root, *keys]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n")
        file.flush()
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
    if done.returncode:
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-1]
        raise InputError(f"{name} {' '.join(keys)} failed: {last}; see {log} for its whole output")
