"""Broken config.json and scheduler_config.json of every part of a checkpoint, in infer; the weights stay undamaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from robustness.harness import Bench, Case, Verdict, judged
from robustness.mutations import IN_PLACE, json_changes, key_changes, truncations
from robustness.world import CHECKPOINT

from siftvton.files import read_image

CONFIGS = {
    "unet": "config.json",
    "garment_encoder": "config.json",
    "image_context": "config.json",
    "image_encoder": "config.json",
    "vae": "config.json",
    "scheduler": "scheduler_config.json",
}
# Keys that our parts do not have; because of them, libraries would download, run or build something.
FOREIGN: dict[str, Any] = {
    "_attn_implementation": "evil/kernel",
    "attn_implementation": "evil/kernel",
    "_attn_implementation_internal": "evil/kernel",
    "auto_map": {"AutoModel": "evil/repository--modeling.Model"},
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "_name_or_path": "evil/repository",
    "_class_name": "evil.Model",
    "trust_remote_code": True,
    "torch_dtype": "os.system",
    "use_kernels": True,
    "experts_implementation": "evil/kernel",
    "_pre_quantization_dtype": "x",
    "unknown": 1,
}
# Values of other networks with the same shapes. Their results differ or are not finite, which cannot be detected.
FREE = {
    ("image_encoder", "layer_norm_eps"),
    ("vae", "scaling_factor"),
    ("scheduler", "beta_start"),
    ("scheduler", "beta_end"),
    ("scheduler", "steps_offset"),
    ("scheduler", "set_alpha_to_one"),
}


def cases() -> Iterator[Case]:
    for part, name in CONFIGS.items():
        content = json.loads((CHECKPOINT / part / name).read_text())
        for change, changed in key_changes(content, turns=2):
            key = change.removeprefix("no ").partition(" is ")[0]
            data = json.dumps(changed).encode()
            yield Case("configurations of parts", f"{part}: {change}", partial(_run, part, name, data, key))
        for key, value in FOREIGN.items():
            data = json.dumps({**content, key: value}).encode()
            yield Case("configurations of parts", f"{part}: with {key}", partial(_run, part, name, data, key))
        whole = json.dumps(content).encode()
        files = {**dict(json_changes(content)), **IN_PLACE}
        files |= {change: cut(whole) for change, cut in truncations(4).items()}
        for change, data in files.items():
            yield Case("configurations of parts", f"{part}: {change}", partial(_run, part, name, data, ""))
    index = json.loads((CHECKPOINT / "model_index.json").read_text())
    for key in index:
        for value in (["os", "system"], ["evil", "Model"], "x", None, 3):
            data = json.dumps({**index, key: value}).encode()
            shown = f"model_index.json: {key} is {value}"
            yield Case("configurations of parts", shown, partial(_run, "", "model_index.json", data, key))


def _run(part: str, name: str, content: bytes, key: str, bench: Bench) -> Verdict:
    model = bench.copy("model")
    (model / part / name).write_bytes(content)
    finished = bench.run("infer", f"checkpoint={model}", "limit=1")
    names = [f"{part}/{name}".lstrip("/"), f"model/{part}", *(["00000_00"] if (part, key) in FREE else [])]
    return judged(finished, names, lambda: _difference(bench, part, key))


def _difference(bench: Bench, part: str, key: str) -> str:
    """How the picture differs, although only the configuration has changed; or an empty text."""
    (path,) = bench.output.glob("*.png")
    made, whole = read_image(path), read_image(bench.world.results / path.name)
    if (part, key) in FREE:
        return "" if len(np.unique(made)) > 1 else f"{path.name} is of one colour"
    far = int(np.abs(made.astype(int) - whole).max())
    return "" if far <= 1 else f"exit 0, and {path.name} differs by up to {far} grey levels"
