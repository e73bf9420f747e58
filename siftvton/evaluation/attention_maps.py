"""What a person's points look at on the garment, as pictures (the paper's Fig. 4)."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn import functional

from siftvton.correspondence import Correspondences
from siftvton.data.dataset import TryOnBatch
from siftvton.draws import torch_generator
from siftvton.model.network import TryOnNetwork
from siftvton.pipeline import TryOnPipeline
from siftvton.supervision.attention import attention_rows, observe
from siftvton.supervision.reference import cells, grid_of
from siftvton.training.step import Noised, noised_at

POINTS = 3  # query points a person
LOOKED_AT, TRUTH = (255, 40, 0), (0, 200, 0)  # red first


@torch.no_grad()
def attention_maps(
    network: TryOnNetwork, batch: TryOnBatch, inputs: Noised, points: Correspondences, layers: Sequence[str]
) -> np.ndarray:
    """(points, H, W): the attention of one image's points over the garment, averaged over heads and layers.

    Each layer's map is resized to the picture and sums to 1 over its pixels.
    """
    assert len(batch) == 1
    frame = (batch.image.shape[-2], batch.image.shape[-1])

    def look(attention: Attention, hidden_states: Tensor, key: Tensor) -> Tensor:
        query_grid, key_grid = grid_of(hidden_states.shape[1], frame), grid_of(key.shape[2], frame)
        rows = torch.from_numpy(cells(points.person, points.frame, query_grid)).to(key.device)
        weights = attention_rows(attention, hidden_states[0], key[0], rows).unflatten(1, key_grid)
        resized = functional.interpolate(weights[None], size=frame, mode="bilinear")[0]
        return resized / resized.sum(dim=(1, 2), keepdim=True)

    with observe(network.unet, look, layers) as seen:
        network(inputs.sample, inputs.timestep, inputs.garment_latent, batch.garment_224, inputs.keep)
        return torch.stack([seen.losses[layer] for layer in layers]).mean(dim=0).cpu().numpy()


def mean_maps(
    pipeline: TryOnPipeline,
    batch: TryOnBatch,
    points: Correspondences,
    layers: Sequence[str],
    timesteps: Sequence[int],
    seed: int,
) -> np.ndarray:
    """:func:`attention_maps`, averaged over timesteps that the photo is noised to as well (the paper: t < η)."""
    network = network_of(pipeline)
    on_device = batch.to(pipeline.device)
    maps = [
        attention_maps(network, on_device, at_timestep(pipeline, batch, time, seed), points, layers)
        for time in timesteps
    ]
    return np.mean(maps, axis=0)


def network_of(pipeline: TryOnPipeline) -> TryOnNetwork:
    return TryOnNetwork(**{name: p for name, p in pipeline.components.items() if name not in ("vae", "scheduler")})


def at_timestep(pipeline: TryOnPipeline, batch: TryOnBatch, timestep: int, seed: int) -> Noised:
    """The network's inputs for the photos noised to one timestep; draws keyed by seed, pair and timestep."""
    generators = [torch_generator(seed, pair.person_id, pair.garment_id, timestep) for pair in batch.pair]
    times, keep = torch.full((len(batch),), timestep), torch.ones(len(batch), dtype=torch.bool)
    return noised_at(pipeline.vae, pipeline.scheduler, batch.to(pipeline.device), times, keep, generators)


def spread_points(known: Correspondences, count: int = POINTS) -> Correspondences:
    """``count`` of the points, each as far as can be from those before it; the first is the middlemost."""
    if len(known) <= count:
        return known
    chosen = [int(np.linalg.norm(known.person - known.person.mean(axis=0), axis=1).argmin())]
    while len(chosen) < count:
        distance = np.linalg.norm(known.person[:, None] - known.person[chosen], axis=2).min(axis=1)
        chosen.append(int(distance.argmax()))
    return Correspondences(known.person[chosen], known.garment[chosen], known.frame)


def draw_attention(
    photo: np.ndarray,
    garment: np.ndarray,
    points: Correspondences,
    maps: np.ndarray,
    height: int = 256,
    true_places: bool = True,
) -> list[np.ndarray]:
    """The photo with its points numbered, then the garment under each point's map, its true place circled green.

    Args:
        photo, garment: (H, W, 3) uint8. maps: (points, H, W). height: of the drawings, pixels.
        true_places: whether those of ``points`` on the garment are known.
    """
    size = (height, round(height * photo.shape[1] / photo.shape[0]))
    shown = points.resized(size)
    person = cv2.resize(photo, size[::-1], interpolation=cv2.INTER_CUBIC)
    flat = cv2.resize(garment, size[::-1], interpolation=cv2.INTER_CUBIC)
    drawings = [person]
    for number, (place, true, weights) in enumerate(zip(shown.person, shown.garment, maps, strict=True), start=1):
        corner = (int(place[0]), int(place[1]))
        cv2.circle(person, corner, 4, LOOKED_AT, -1, cv2.LINE_AA)
        beside = 6 if corner[0] + 20 < size[1] else -16
        cv2.putText(
            person, str(number), (corner[0] + beside, corner[1] + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.45, LOOKED_AT, 1,
            cv2.LINE_AA,
        )  # fmt: skip
        heat = cv2.resize(weights / weights.max(), size[::-1], interpolation=cv2.INTER_LINEAR)[..., None]
        pale = 0.5 * flat + 127.5 * 0.5
        looked = (pale * (1 - heat) + np.array(LOOKED_AT) * heat).clip(0, 255).astype(np.uint8)
        if true_places:
            cv2.circle(looked, (int(true[0]), int(true[1])), 7, TRUTH, 2, cv2.LINE_AA)
        drawings.append(looked)
    return drawings
