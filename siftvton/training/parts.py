"""The parts of a training that its configuration names: the pairs, the network, and the frozen parts."""

import torch
from diffusers import PNDMScheduler

from siftvton.correspondence import Correspondences
from siftvton.data.dataset import TryOnBatch, TryOnDataset, TryOnItem, collate
from siftvton.data.pairs import Pair
from siftvton.draws import seed_of
from siftvton.errors import UsageError, naming
from siftvton.model import build
from siftvton.model.inputs import ENCODED, Autoencoder
from siftvton.model.network import TryOnNetwork
from siftvton.sampling.autoencoders import load_autoencoder, use_autoencoder
from siftvton.sampling.loading import load
from siftvton.training.config import Train


def training_set(config: Train) -> TryOnDataset:
    """The training pairs with their matches.

    Raises:
        InputError: a file is missing.
        UsageError: the pairs are both augmented and encoded once, or a loss requires photos that are not read.
    """
    data, supervision = config.data, config.supervision
    if data.cache_latents and data.augment:
        raise UsageError(
            "data.cache_latents is not allowed with data.augment=true, because an augmented picture is new in every "
            "epoch; set data.augment=false, or data.cache_latents=null"
        )
    if data.cache_latents and supervision.flow_weight:
        raise UsageError(
            "data.cache_latents is not allowed with supervision.flow_weight above 0, because the flow loss requires "
            "the photos themselves; set data.cache_latents=null, or supervision.flow_weight=0"
        )
    split = data.open().split("train")
    matches = None
    if supervision.uses_matches:
        matches = data.matches or split.matches
    dataset = TryOnDataset(
        split,
        split.pairs("paired")[: data.max_pairs],
        data.height,
        data.width,
        matches=matches,
        matches_frame=data.frame,
        match_reach=supervision.match_reach,
        worn_mask=supervision.uses_worn_mask,
        augmented=data.augment,
        seed=config.train.seed,
    )
    dataset.require_files()
    return dataset


def model_parts(config: Train) -> tuple[Autoencoder, TryOnNetwork, PNDMScheduler]:
    """The frozen autoencoder, the network to train, and the noise schedule.

    Raises:
        UsageError: the configuration names no weights, or its sizes do not fit each other.
        InputError: weights cannot be read.
    """
    if config.model.pretrained:
        with naming("model.pretrained", config.model.pretrained):
            pipeline = load(config.model.pretrained)
        if config.model.autoencoder:
            use_autoencoder(pipeline, config.model.autoencoder, "model.autoencoder")
        return pipeline.vae, pipeline.network(), pipeline.scheduler
    if not config.model.autoencoder:
        raise UsageError(
            "model.autoencoder=null is not allowed without model.pretrained; set model.autoencoder to the folder of a "
            "trained autoencoder (scripts/train_autoencoder.py makes one), or model.pretrained to weights to start from"
        )
    with naming("model.autoencoder", config.model.autoencoder):
        vae = load_autoencoder(config.model.autoencoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(config.train.seed, "weights"))
        network = TryOnNetwork(**build.network_parts(config.model, vae.config.latent_channels))
    return vae, network, build.scheduler(config.model.prediction_type)


def empty_batch(config: Train, vae: Autoencoder) -> TryOnBatch:
    """A micro-batch of grey pictures without matches; with latents if latents are cached, so that none is encoded."""
    count, (height, width) = config.train.batch_size, (config.data.height, config.data.width)
    grey = torch.zeros(3, height, width)
    stride = 2 ** (len(vae.config.block_out_channels) - 1)
    latents = torch.zeros(len(ENCODED) + 1, vae.config.latent_channels, height // stride, width // stride)
    item = TryOnItem(
        image=grey,
        agnostic=grey,
        densepose=grey,
        keep_mask=grey[:1],
        garment=grey,
        worn_mask=grey[:1] if config.supervision.uses_worn_mask else None,
        matches=Correspondences.empty((height, width)),
        pair=Pair("", ""),
        key=(0, 0),
        latents=latents if config.data.cache_latents else None,
    )
    return collate([item] * count)
