"""Reproduce published scores by the commands that users run, in this process, one after the other.

Finished stages are not repeated, and each command continues where it was stopped.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from siftvton.errors import InputError, UsageError
from siftvton.files import is_file, read_json
from siftvton.reproduction import stages
from siftvton.reproduction.config import Reproduce, Target
from siftvton.reproduction.environment import environment
from siftvton.reproduction.judgement import judge, require_reasons
from siftvton.reproduction.report import Ran, write_report
from siftvton.reproduction.stages import Finished, Stage
from siftvton.reproduction.weights import fetch
from siftvton.settings import differences, save_configuration

SAVED = "reproduce.yaml"  # file in the output folder: the configuration
# Keys that may change between two runs in the same folder: they say how far to go, how to compute, and how to judge.
FREE = ("limit", "keys", "pairs", "settings", "output")
FREE_OF_TARGETS = ("sha256", "row", "note", "published", "tolerance", "reason")

Call = Callable[[str, Sequence[str]], str]  # runs a command with these keys


class _Stopped(Exception):
    """Training was asked to stop, and has saved its state."""


def reproduce(config: Reproduce, call: Call) -> str:
    """Check, fetch, match, train, sample, score and judge, as configured.

    Args:
        config: the configuration.
        call: runs a command and returns its text.

    Returns:
        The report in Markdown, which is also written to ``verdict.md`` and, as data, to ``verdict.json``.

    Raises:
        UsageError: the configuration does not fit itself or the output folder, or several processes run.
        InputError: weights or data are missing or not the expected ones, or a command failed.
    """
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        raise UsageError(
            "reproduce runs in one process; to train on several GPUs, run train.py, then give "
            "trained.checkpoint=<its model>"
        )
    key, target = judged_target(config)
    require_reasons(target, key)
    origin, named = weights_target(config)
    if not named.checkpoint:
        raise UsageError(f"{origin}.checkpoint=null is not allowed; name the weights")
    output, ran = Path(config.output), []
    planned(config)  # refuses wrong keys before anything is written
    _claim(config, output, {key, origin})
    finished, here = Finished(output), environment()

    def run(stage: Stage) -> None:
        ran.append(stage)
        if finished.holds(stage):
            print(f"{stage.name}: finished before")
            return
        print(f"{stage.name}: {stage.line(config.settings)}")
        finished.drop_from(stage)
        _call(stage, call)
        finished.add(stage, here)

    try:
        run(stages.check_stage(config))
        weights = fetch(named, origin, output)
        checkpoint = weights.pinned
        if trains(config):
            for stage in stages.training_stages(config, checkpoint):
                run(stage)
            checkpoint = str(_model(output / "train"))
        for stage in stages.scoring_stages(config, checkpoint, sampling_keys(config)):
            run(stage)
    except _Stopped:
        return f"{output}: stopped in training; run the same command again to continue"
    paths = [stages.scores_folder(output, setting) / "metrics.json" for setting in stages.SETTINGS]
    reports = {str(path): read_json(path) for path in paths}
    rows = judge(target, reports, stages.NAME, config.pairs)
    return write_report(Ran(config, target, weights, checkpoint, ran, finished.entries), rows)


def trains(config: Reproduce) -> bool:
    """Whether this configuration trains, instead of judging weights that exist."""
    return config.what == "train" and config.trained.checkpoint is None


def judged_target(config: Reproduce) -> tuple[str, Target]:
    """The section with the published figures, and its name."""
    name = {"sift-vton": "sift_vton", "stableviton": "stableviton", "train": "trained"}[config.what]
    return name, getattr(config, name)


def weights_target(config: Reproduce) -> tuple[str, Target]:
    """The section that names the weights to fetch, which are those that training starts from; and its name."""
    return ("stableviton", config.stableviton) if trains(config) else judged_target(config)


def sampling_keys(config: Reproduce) -> list[str]:
    """The further keys of infer.py, with which the published figures were sampled."""
    key, target = judged_target(config)
    return stages.words(f"{key}.sampling", target.sampling)


def planned(config: Reproduce) -> list[Stage]:
    """All stages; weights that are not fetched yet are named as in the configuration.

    Raises:
        UsageError: a key for a command is not allowed.
    """
    checkpoint = weights_target(config)[1].checkpoint or "null"
    training = stages.training_stages(config, checkpoint) if trains(config) else []
    checkpoint = str(Path(config.output) / "train" / "model") if trains(config) else checkpoint
    return [
        stages.check_stage(config),
        *training,
        *stages.scoring_stages(config, checkpoint, sampling_keys(config)),
    ]


def _claim(config: Reproduce, output: Path, used: set[str]) -> None:
    """Save the configuration; refuse a folder with another reproduction.

    Args:
        used: the sections of targets whose keys matter.
    """
    saved = output / SAVED
    changed = []
    for line in differences(config, saved) if is_file(saved) else []:
        section, _, rest = line.partition(":")[0].partition(".")
        of_target = isinstance(getattr(config, section), Target)
        free = rest.partition(".")[0] in FREE_OF_TARGETS or section not in used if of_target else section in FREE
        changed += [] if free else [line]
    if changed:
        raise UsageError(f"output={output}: holds another reproduction ({'; '.join(changed)}); use another folder")
    save_configuration(config, saved)


def _call(stage: Stage, call: Call) -> None:
    """Run the command of a stage.

    Raises:
        _Stopped: it was a training that stopped early.
    """
    results = [stage.folder / name for name in ("model", "model_lora")]  # one is written when a training ends
    before = [_stamp(result) for result in results]
    call(stage.command, stage.keys)
    if stage.command == "train" and [_stamp(result) for result in results] == before:
        raise _Stopped


def _stamp(folder: Path) -> tuple[int, int] | None:
    """What changes when a folder is written again; None: there is no folder."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _model(training: Path) -> Path:
    """The weights to judge: those with the best validation, as in the paper (§4.1), else the last ones.

    Raises:
        InputError: training has left updates alone, without the weights that they belong to.
    """
    found = next((training / name for name in ("best", "model") if (training / name).is_dir()), None)
    if found is None:
        raise InputError(f"{training}: holds no whole model; use train.trainable=finetune or all in keys.train")
    return found
