"""Load a model of the transformers library strictly, from JSON and safetensors alone."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from siftvton.errors import InputError
from siftvton.finite import first_not_finite
from siftvton.prepare.models.files import ModelFiles, broken, find
from siftvton.weight_files import read_json, shown

FILES = ("config.json", "preprocessor_config.json", "model.safetensors")

disable_progress_bar()  # each model is one file
set_verbosity_error()  # otherwise a table of all tensors that do not fit is printed before the error


@dataclass(frozen=True)
class Loaded:
    """A network with what belongs to it.

    Attributes:
        files: where it came from.
        network: the network in evaluation mode, in float32.
        processor: the library's preparation of pictures and interpretation of outputs.
        device: where the network runs.
    """

    files: ModelFiles
    network: Any
    processor: Any
    device: torch.device


def load(part: str, source: str | None, network: Any, processor: Any, device: torch.device) -> Loaded:
    """Load a model and its picture processor.

    Args:
        part: the model's key in the section ``models``.
        source: the key's value.
        network, processor: the library's classes.
        device: where the network runs.

    Raises:
        InputError: the files cannot be had or are damaged; or they hold another kind of model, too few tensors, or
            NaN or infinite values.
    """
    files = find(part, source, FILES)
    config = read_json(files.paths[0])
    kind = config.get("model_type") if isinstance(config, dict) else None
    expected = network.config_class.model_type
    if kind != expected:
        raise InputError(f"{files.key}: config.json has model_type {shown(kind)}; a model of {expected} is required")
    with broken(files, "loaded"):
        own, report = network.from_pretrained(
            files.folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="eager",  # config.json could name a program on the hub
            output_loading_info=True,
        )
        prepare = processor.from_pretrained(files.folder, local_files_only=True)
        own = own.float().to(device).eval()
    if report["missing_keys"]:
        raise InputError(
            f"{files.paths[-1]}: has no tensor {shown(sorted(report['missing_keys'])[0])}; copy the folder again"
        )
    faulty = first_not_finite(own.state_dict().items())
    if faulty is not None:
        raise InputError(f"{files.paths[-1]}: {faulty} holds values that are NaN or infinite; copy the folder again")
    return Loaded(files, own, prepare, device)
