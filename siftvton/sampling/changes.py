"""Load a checkpoint with another autoencoder and with low-rank updates, as the keys of ``WeightChanges`` ask for."""

from pathlib import Path

import torch
from torch import nn

from siftvton.errors import naming
from siftvton.files import sha256
from siftvton.hub import PART, local
from siftvton.locks import is_main_process
from siftvton.sampling.autoencoders import autoencoder_digest, use_autoencoder
from siftvton.sampling.config import WeightChanges
from siftvton.sampling.loading import load, weights_digest
from siftvton.sampling.lora import merge_update, update_file
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.weight_files import require_regular


def load_changed(source: str | Path, dtype: torch.dtype | None, changes: WeightChanges) -> TryOnPipeline:
    """Load a pipeline and change its weights; say so in one line if another autoencoder takes the place of its own.

    Args:
        source: as for :func:`siftvton.sampling.loading.load`.
        dtype: converts the weights to this data type, after the updates are added in float32; None: keeps the stored
            one.
        changes: the autoencoder and the updates.

    Raises:
        InputError: the checkpoint, the autoencoder or the updates are missing or damaged, or do not fit each other.
    """
    in_float32 = bool(changes.lora) and dtype is not None
    pipeline = load(source, torch.float32 if in_float32 else dtype)
    if changes.lora:
        merge_update(pipeline, changes.lora, changes.lora_weight)
        if dtype is not None:
            for part in pipeline.components.values():
                if isinstance(part, nn.Module):
                    nn.Module.to(part, dtype)  # the method of diffusers' models prints a warning that does not apply
    if changes.autoencoder:
        own = pipeline.vae
        use_autoencoder(pipeline, changes.autoencoder, "autoencoder")
        if is_main_process() and not _are_equal(own, pipeline.vae):  # the key may come from a configuration file
            print(f"note: autoencoder={changes.autoencoder} is used in place of the autoencoder of {source}")
    return pipeline


def _are_equal(first: nn.Module, second: nn.Module) -> bool:
    """Whether two modules have the same weights."""
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def require_present(source: str | Path, changes: WeightChanges) -> None:
    """Check that all weights are on this machine, and download what is not; quick, before other work.

    Raises:
        InputError: weights are missing, or cannot be downloaded.
    """
    local(source)
    if changes.autoencoder:
        with naming("autoencoder", changes.autoencoder):
            local(changes.autoencoder, PART)
    if changes.lora:
        require_regular(update_file(changes.lora))


def digests(source: str | Path, changes: WeightChanges) -> dict[str, str]:
    """SHA-256 of each set of weights that makes the results: of the checkpoint, the autoencoder and the updates.

    Raises:
        InputError: weights are missing or cannot be read.
    """
    found = {"weights_sha256": weights_digest(source)}
    if changes.autoencoder:
        with naming("autoencoder", changes.autoencoder):
            found["autoencoder_sha256"] = autoencoder_digest(changes.autoencoder)
    if changes.lora:
        found["lora_sha256"] = sha256(require_regular(update_file(changes.lora)))
    return found
