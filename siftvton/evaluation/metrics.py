"""The metrics: SSIM and LPIPS between a result and its photo, FID's and KID's distances between two sets of features.

Letters: B batch, H × W pixels, N and M pictures of two sets, D features of one picture.
"""

import numpy as np
import torch
from cleanfid import fid as clean_fid
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from siftvton.draws import seed_of

ROUNDING = 1e-5  # how far interpolation may round a value beyond [0, 1]
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000  # clean-fid's defaults
LPIPS_MINIMUM_SIZE = 31  # pixels; AlexNet's second pooling leaves nothing of a smaller picture


def structural_similarity(results: Tensor, photos: Tensor) -> Tensor:
    """SSIM of each pair of pictures (Wang et al. 2004): Gaussian window with σ = 1.5, mean over pixels and channels.

    Args:
        results: (B, 3, H, W) in [0, 1].
        photos: the same shape and range.

    Returns:
        (B,), at most 1; 1 for equal pictures.
    """
    _assert_pictures(results, photos)
    similarity = structural_similarity_index_measure(results, photos, data_range=1.0, reduction="none")
    assert isinstance(similarity, Tensor)
    return similarity


@torch.no_grad()
def perceptual_distance(results: Tensor, photos: Tensor, network: nn.Module) -> Tensor:
    """LPIPS of each pair of pictures (Zhang et al. 2018).

    Args:
        results: (B, 3, H, W) in [0, 1]; H and W are at least ``LPIPS_MINIMUM_SIZE``.
        photos: the same shape and range.
        network: TorchMetrics' LPIPS network (:func:`siftvton.evaluation.weights.load_lpips`).

    Returns:
        (B,), at least 0; 0 for equal pictures.
    """
    _assert_pictures(results, photos)  # TorchMetrics does not notice a wrong range such as [0, 255]
    return network(2 * results - 1, 2 * photos - 1).reshape(-1)


@torch.no_grad()
def perceptual_map(results: Tensor, photos: Tensor, network: nn.Module) -> Tensor:
    """LPIPS at each pixel: the layers' distances, resized to the picture and added.

    Args:
        results: as for :func:`perceptual_distance`.
        photos: the same shape and range.
        network: LPIPS network with maps (:func:`siftvton.evaluation.weights.load_lpips`).

    Returns:
        (B, H, W), at least 0.
    """
    _assert_pictures(results, photos)
    return network(2 * results - 1, 2 * photos - 1)[:, 0]


def frechet_distance(features: np.ndarray, reference: np.ndarray) -> float:
    """Fréchet distance between normal distributions fitted to two sets of features (Heusel et al. 2017, Eq. 6).

    The distance is ‖μ − μ_r‖² + Tr(Σ) + Tr(Σ_r) − 2·Tr((Σ Σ_r)^½). Let A and B be the centred features, divided by
    √(N − 1) and √(M − 1), so that Σ = AᵀA and Σ_r = BᵀB. The eigenvalues of ΣΣ_r are the squared singular values of
    ABᵀ, so the last trace is the sum of the singular values. This equals clean-fid's value, which takes the square
    root of a D × D matrix. It is exact even if Σ is singular because N < D, and thousands of times faster.

    Args:
        features: (N, D), N ≥ 2.
        reference: (M, D), M ≥ 2.
    """
    assert min(len(features), len(reference)) >= 2, "a covariance needs two pictures"
    features, reference = features.astype(np.float64), reference.astype(np.float64)
    mean, mean_r = features.mean(axis=0), reference.mean(axis=0)
    a = (features - mean) / np.sqrt(len(features) - 1)  # ................. (N, D)
    b = (reference - mean_r) / np.sqrt(len(reference) - 1)  # ............. (M, D)
    trace_of_root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    distance = ((mean - mean_r) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * trace_of_root
    return max(0.0, float(distance))  # rounding can make the distance of equal sets slightly negative


def kernel_distances(features: np.ndarray, reference: np.ndarray, seed: int) -> np.ndarray:
    """1000 × KID for each subset (Bińkowski et al. 2018): unbiased squared MMD with the kernel (xᵀy / D + 1)³.

    Computed by clean-fid on 100 subsets of up to 1000 pictures each. KID is their mean; it may be negative.

    Args:
        features: (N, D), N ≥ 2.
        reference: (M, D), M ≥ 2.
        seed: seed for the choice of the subsets.

    Returns:
        (100,) float64, or (1,) if N = M ≤ 1000: then each subset would hold all pictures.
    """
    assert min(len(features), len(reference)) >= 2, "the unbiased estimate needs two pictures"
    all_in_one = len(features) == len(reference) <= KID_SUBSET_SIZE
    subsets = 1 if all_in_one else KID_SUBSETS
    before = np.random.get_state()
    np.random.seed(seed_of(seed, "kid") % 2**32)  # clean-fid draws the subsets from the global generator
    try:
        both = features.astype(np.float64), reference.astype(np.float64)
        return 1000 * np.array([clean_fid.kernel_distance(*both, num_subsets=1) for _ in range(subsets)])
    finally:
        np.random.set_state(before)


def _assert_pictures(results: Tensor, photos: Tensor) -> None:
    assert results.shape == photos.shape, (results.shape, photos.shape)
    assert results.ndim == 4, results.shape
    for pictures in (results, photos):
        low, high = torch.aminmax(pictures)
        assert -ROUNDING <= low <= high <= 1 + ROUNDING, f"pictures in [{low:g}, {high:g}]; [0, 1] is required"
