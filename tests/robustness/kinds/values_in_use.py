"""Real runs with values that the schema allows; the results must be complete, or the value is refused in one line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from robustness.harness import Bench, Case, Verdict, judged
from safetensors.numpy import load_file

from siftvton.files import read_image

HUGE = 10**12
LIMIT = 30.0  # seconds

# Script -> key -> values. Values that only mean long work, such as many updates, pairs or epochs, are left out.
VALUES: dict[str, dict[str, tuple[object, ...]]] = {
    "preprocess_sift": {
        "data.matches_frame": ("[8,8]", "[9,13]", "[100000,100000]", f"[{HUGE},8]", "[128,8]"),
        "preview": (HUGE,),
        "workers": (1, HUGE),
    },
    "infer": {
        "steps": (1, 2, 3, 4, 501, 1000),
        "guidance": (0, 1, 1e-30, 1e30, 1e38, 1e300),
        "seed": (-1, 2**31, 2**63, 2**64, HUGE**3),
        "limit": (HUGE,),
        "batch_size": (HUGE, 2**63),
        "data.height": (8, 16, 120, HUGE, 16 * 10**5),
        "data.width": (8, 17, HUGE),
        "data.validation_pairs": (HUGE,),
        "scheduler": ("DDIMScheduler", "EulerAncestralDiscreteScheduler", "LCMScheduler", "nonsense", "os", ""),
        "execution.device": ("meta", "cuda:0", "cpu:7", "nonsense", "xpu", "mps", "", "cpu"),
        "execution.dtype": ("float16", "bfloat16"),
        "execution.offload": ("true",),
        "execution.vae_tiling": ("true",),
        "execution.vae_slicing": ("true",),
        "start": ("noise",),
        "checkpoint": (
            "",
            ".",
            "/",
            "/dev/null",
            "/dev/zero",
            "/etc/passwd",
            "a" * 300,
            "a/b",
            "hf://a",
            "https://x/y",
        ),
        "output": ("", "/dev/null", "/proc/x", "a" * 300, "/dev/null/x"),
    },
    "train": {
        "train.learning_rate": (0, 1e-300, 1e30, 1e300),
        "train.max_gradient_norm": (1e-300, 1e300),
        "train.weight_decay": (1e30, 1e300),
        "train.ema_decay": (0, 1),
        "train.min_snr_gamma": (0, 1e-300, 1e300),
        "train.dropout": (0, 1),
        "train.warmup_updates": (0, HUGE),
        "train.batch_size": (7,),
        "train.accumulation": (3,),
        "train.checkpoint_every": (HUGE,),
        "train.keep_checkpoints": (HUGE,),
        "train.epochs": (1e-9, "null"),
        "train.seed": (-1, 2**63, 2**64, HUGE**3),
        "train.validation_pictures": (HUGE,),
        "train.validation_steps": (1, HUGE),
        "train.tracker": ("nonsense", "wandb", ""),
        "train.push_to_hub": ("nonsense", "a/b/c", ""),
        "train.alexnet": ("/etc/passwd", "/dev/null", "nowhere", ""),
        "train.inception": ("/etc/passwd", "/dev/null", "nowhere", ""),
        "supervision.weight": (0, 1e30, 1e300),
        "supervision.atv_weight": (1e-30, 1e30, 1e300),
        "supervision.max_timestep": (0, 999),
        "data.matches_frame": ("[8,8]", f"[{HUGE},{HUGE}]"),
        "data.validation_pairs": (2, 3, HUGE),
        "data.split_seed": (-1, 2**64, HUGE**3),
        "data.height": (16, 17, HUGE),
        "model.channels": ("[16]", "[16,7]", "[1,1]", f"[16,{HUGE}]", "[1000000,1000000]"),
        "model.heads": (3, HUGE),
        "model.norm_groups": (3, HUGE),
        "model.image_patch": (225, HUGE),
        "model.image_heads": (3, HUGE),
        "model.context_width": (1,),
        "resume": ("nonsense", "../update-0000001", "", "null", "a" * 300),
    },
    "train_autoencoder": {
        "channels": ("[0]", "[16,-2]", "[16]", "[1,1]", "[3,5]", f"[{HUGE}]", "[16,16,16,16,16,16,16]"),
        "norm_groups": (3, HUGE),
        "blocks_per_level": (1,),
        "crop": (8, 65, HUGE),
        "learning_rate": (0, 1e-300, 1e30, 1e300),
        "kl_weight": (0, 1e30, 1e300),
        "squared_weight": (0, 1e300),
        "gradient_weight": (0, 1e300),
        "colour_weight": (0, 1e300),
        "anchor_weight": (0, 1e300),
        "latent_deviation": (0, 1e-300, 1e300),
        "seed": (-1, 2**64),
    },
    "evaluate": {
        "batch_size": (HUGE,),
        "limit": (1, HUGE),
        "seed": (-1, 2**32, 2**64),
        "data.height": (8, HUGE),
        "device": ("meta", "cuda:0", "nonsense"),
        "autoencoder": ("/etc", "nowhere", "/dev/null"),
    },
    "evaluate_toy": {"others": (0, HUGE), "seed": (-1, 2**64), "limit": (1, HUGE), "data.height": (8, HUGE)},
    "attention_error": {
        "timesteps": ("[0]", "[999]", "[0,0]"),
        "seed": (-1, 2**64),
        "limit": (1, HUGE),
        "batch_size": (HUGE,),
        "matches_frame": ("[8,8]", f"[{HUGE},{HUGE}]"),
        "device": ("meta",),
        "data.width": (16, 17, HUGE),
    },
    "visualize_attention": {
        "points": ("[]", "[1]", "[-1,5]", "[96,5]", f"[{HUGE},1]", "[5,5,5]", "[0,0]"),
        "person": ("nobody", "", "../00000_00", "a" * 300),
        "garment": ("nothing", "", "../00000_00", "a" * 300),
        "seed": (-1, 2**64),
    },
    "visualize_reference": {
        "cell": (8, 9, 96, 97, HUGE),
        "limit": (HUGE,),
        "matches": ("nowhere", ""),
        "data.matches_frame": ("[8,8]", f"[{HUGE},{HUGE}]"),
    },
    "compare_results": {
        "limit": (1, HUGE),
        "data.height": (8, HUGE),
        "predictions.x": ("nowhere", "", "{x}", "{", "{person.a}"),
    },
    "check_data": {"preview": (HUGE,), "data.height": (8, HUGE), "data.matches_frame": ("[8,8]", f"[{HUGE},8]")},
    "make_toy_data": {
        "seed": (-1, 2**32, 2**64, HUGE**3),
        "height": (64, 65, HUGE),
        "width": (48, 49, HUGE),
        "workers": (1,),
    },
    "convert_checkpoint": {
        "to": ("published",),
        "like": ("nowhere", "/etc/passwd"),
        "input": ("nowhere", "", "/etc/passwd", "."),
    },
    "experiment": {
        "reference": ("nobody", ""),
        "base_weights": ("'{nope}'", "'{'"),
        "jobs": (HUGE,),
        "report": ("/dev/null/x", ""),
        "arms.none": ("'{0}'", "'{'", "'{base.x}'"),
    },
    "report": {"output": ("nowhere", "", "/dev/null", "a" * 300)},
}


# Names that a message may give instead of the key, because the two do not fit each other.
TOGETHER = {
    ("visualize_reference", "data.matches_frame"): ["cell="],
    ("convert_checkpoint", "to"): ["output="],
    ("experiment", "report"): ["/dev/null"],
}


def cases() -> Iterator[Case]:
    for script, keys in VALUES.items():
        for key, values in keys.items():
            for value in values:
                shown = str(value) if len(str(value)) < 40 else f"{len(str(value))} letters"
                yield Case("values in use", f"{script} {key}={shown}", partial(_run, script, key, value), LIMIT)


def _run(script: str, key: str, value: object, bench: Bench) -> Verdict:
    finished = bench.run(script, *_beside(script, bench), f"{key}={value}")
    names = [key, key.rpartition(".")[2], *([str(value)] if value != "" else [])]
    if key.startswith("data."):
        names += ["data.height", "data.width"]  # messages name both together
    names += TOGETHER.get((script, key), [])
    if script == "train":
        names.append("update ")  # the message on NaN or infinity names the update and its pairs
    return judged(finished, names, lambda: _flaw(bench.output))


def _beside(script: str, bench: Bench) -> list[str]:
    """The inputs of the script in addition to the settings."""
    world = bench.world
    needs: dict[str, Callable[[], list[str]]] = {
        "preprocess_sift": lambda: ["workers=1"],
        "infer": lambda: ["limit=1", "data.height=64", "data.width=48", "guidance=1"],
        "train": lambda: [f"data.matches={world.matches}", "train.updates=2", "train.validate_every=2"],
        "train_autoencoder": lambda: ["batch_size=1", "crop=64"],
        "evaluate": lambda: [f"predictions.x={world.results}", f"autoencoder={world.model / 'vae'}"],
        "evaluate_toy": lambda: [f"predictions={world.results}", "workers=1"],
        "visualize_attention": lambda: [f"checkpoints.x={world.model}"],
        "visualize_reference": lambda: [f"matches={world.matches}"],
        "compare_results": lambda: [f"predictions.x={world.results}"],
        "check_data": lambda: [f"data.matches={world.matches}"],
        "make_toy_data": lambda: ["train_pairs=1", "test_pairs=2", "height=64", "width=48", "workers=1"],
        "convert_checkpoint": lambda: [f"input={world.model}"],
        "experiment": lambda: [f"measures={world.measures}", f"report={bench.output}/results"],
    }
    # The value can name a repository.
    bench.may_download = script in ("evaluate", "infer", "convert_checkpoint", "train")
    return needs.get(script, list)()


def _flaw(output: Path) -> str:
    """What is wrong with the files of a run that ended with 0: NaN or infinite numbers, or pictures of one colour."""
    for path in output.rglob("*.safetensors"):
        bad = [name for name, values in load_file(path).items() if not np.isfinite(values).all()]
        if bad:
            return f"{path.relative_to(output)}: {bad[0]} is not finite"
    for path in [*output.rglob("*.json"), *output.rglob("*.jsonl")]:
        for line in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
            if not all(map(math.isfinite, _numbers(json.loads(line)))):
                return f"{path.relative_to(output)} holds NaN or infinity"
    for path in output.glob("*.png"):
        if len(np.unique(read_image(path))) < 2:
            return f"{path.name} is of one colour"
    return ""


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _numbers(inner)
