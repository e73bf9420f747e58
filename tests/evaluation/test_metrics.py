"""Each metric equals the same quantity computed in another way."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from cleanfid import fid as clean_fid
from numpy.lib.stride_tricks import sliding_window_view
from stand_ins import alexnet_state
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

from siftvton.draws import numpy_generator, torch_generator
from siftvton.evaluation import metrics
from siftvton.evaluation.weights import load_lpips


def pictures(key: str, count: int = 2, height: int = 40, width: int = 36) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch_generator(key))


def plain_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """SSIM of (3, H, W) pictures in [0, 1] window by window in float64, borders mirrored."""
    offsets = np.arange(-5, 6)
    row = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(row, row) / row.sum() ** 2

    def mean(values: np.ndarray) -> np.ndarray:
        padded = np.pad(values.astype(np.float64), ((0, 0), (5, 5), (5, 5)), mode="reflect")
        return (sliding_window_view(padded, (11, 11), axis=(1, 2)) * window).sum(axis=(-2, -1))

    x, y = x.astype(np.float64), y.astype(np.float64)
    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y, covariance = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2, mean(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + 0.01**2) * (2 * covariance + 0.03**2)
    return float((likeness / ((mean_x**2 + mean_y**2 + 0.01**2) * (variance_x + variance_y + 0.03**2))).mean())


def test_ssim_equals_a_sum_window_by_window():
    x = pictures("x")
    y = 0.7 * x + 0.3 * pictures("y")
    expected = [plain_ssim(a, b) for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    assert 0.5 < expected[0] < 0.99
    np.testing.assert_allclose(metrics.structural_similarity(x, y), expected, atol=2e-6)


def test_the_data_range_of_ssim_is_one_for_dim_pictures_too():
    dim = 0.1 * pictures("x")
    dimmer = 0.8 * dim
    expected = [plain_ssim(a, b) for a, b in zip(dim.numpy(), dimmer.numpy(), strict=True)]
    np.testing.assert_allclose(metrics.structural_similarity(dim, dimmer), expected, atol=2e-5)


def test_lpips_equals_torchmetrics_own_metric_on_the_same_alexnet(alexnet_file, monkeypatch):
    features = torchvision.models.AlexNet().features
    features.load_state_dict(
        {key.removeprefix("features."): value for key, value in alexnet_state().items() if "features" in key}
    )
    monkeypatch.setattr(torchvision.models, "alexnet", lambda weights: SimpleNamespace(features=features))
    theirs = LearnedPerceptualImagePatchSimilarity(net_type="alex", reduction="none", normalize=True)
    x, y = pictures("x"), pictures("y")
    theirs.update(x, y)
    monkeypatch.undo()
    network = load_lpips(alexnet_file, torch.device("cpu"))
    ours = metrics.perceptual_distance(x, y, network)
    torch.testing.assert_close(ours, theirs.compute(), rtol=1e-5, atol=1e-8)
    assert (ours > 1e-4).all()
    assert metrics.perceptual_distance(x, x, network).tolist() == [0, 0]


def test_lpips_refuses_pictures_that_are_not_in_0_to_1(alexnet_file):
    network = load_lpips(alexnet_file, torch.device("cpu"))
    for wrong in (255 * pictures("x"), 2 * pictures("x") - 1):
        with pytest.raises(AssertionError, match=r"\[0, 1\] is required"):
            metrics.perceptual_distance(wrong, pictures("y"), network)


def test_the_map_of_lpips_is_zero_away_from_a_change(alexnet_file):
    network = load_lpips(alexnet_file, torch.device("cpu"), maps=True)
    x = pictures("x")[..., :40, :]
    wide = torch.cat([x, x, x], dim=-1)
    changed = wide.clone()
    changed[..., :4] = 1 - changed[..., :4]
    found = metrics.perceptual_map(wide, changed, network)
    assert found.shape == (len(wide), *wide.shape[2:])
    assert (found >= 0).all()
    assert found[..., :8].mean() > 10 * found[..., -8:].mean()
    assert metrics.perceptual_map(wide, wide, network).max() == 0


def test_the_smallest_picture_that_lpips_takes(alexnet_file):
    network = load_lpips(alexnet_file, torch.device("cpu"))
    least = metrics.LPIPS_MINIMUM_SIZE
    x, y = pictures("x", height=least, width=least), pictures("y", height=least, width=least)
    assert metrics.perceptual_distance(x, y, network).shape == (2,)
    with pytest.raises(RuntimeError):
        metrics.perceptual_distance(x[..., 1:], y[..., 1:], network)


def exactly(mean: np.ndarray, deviation: np.ndarray, count: int, key: str) -> np.ndarray:
    """Features whose sample mean and covariance are exactly ``mean`` and ``diag(deviation²)``."""
    drawn = numpy_generator(key).normal(size=(count, len(mean)))
    drawn -= drawn.mean(axis=0)
    white = drawn @ np.linalg.inv(np.linalg.cholesky(np.cov(drawn, rowvar=False))).T
    return mean + white * deviation


def test_frechet_distance_of_normal_distributions_has_its_closed_form():
    mean, other_mean = np.array([0.0, 1.0, -2.0]), np.array([3.0, 1.0, -1.0])
    deviation, other_deviation = np.array([1.0, 2.0, 0.5]), np.array([1.5, 0.25, 0.5])
    expected = ((mean - other_mean) ** 2).sum() + ((deviation - other_deviation) ** 2).sum()  # 10 + 3.3125
    found = metrics.frechet_distance(exactly(mean, deviation, 40, "a"), exactly(other_mean, other_deviation, 25, "b"))
    assert found == pytest.approx(expected, rel=1e-10)
    assert found == pytest.approx(13.3125, rel=1e-10)


@pytest.mark.parametrize(("count", "other_count"), [(200, 150), (12, 9)], ids=["regular", "singular"])
def test_frechet_distance_is_clean_fids(count, other_count):
    mixing = numpy_generator("mixing").normal(size=(64, 64))
    features = (numpy_generator("a").normal(size=(count, 64)) @ mixing).astype(np.float32)
    reference = (0.3 + 1.2 * numpy_generator("b").normal(size=(other_count, 64)) @ mixing).astype(np.float32)
    theirs = clean_fid.fid_from_feats(features, reference)
    assert metrics.frechet_distance(features, reference) == pytest.approx(theirs, rel=1e-5)


def test_frechet_distance_of_a_set_to_itself_is_zero_and_never_below():
    features = numpy_generator("a").normal(size=(20, 64))
    assert 0 <= metrics.frechet_distance(features, features[::-1]) < 1e-10


def test_kernel_distance_is_the_unbiased_mmd_if_one_subset_holds_all():
    x, y = numpy_generator("x").normal(size=(9, 32)), 0.5 + numpy_generator("y").normal(size=(9, 32))

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.array([[(np.dot(u, v) / 32 + 1) ** 3 for v in b] for u in a])

    def off_diagonal_mean(values: np.ndarray) -> float:
        return (values.sum() - np.trace(values)) / (9 * 8)

    expected = off_diagonal_mean(kernel(x, x)) + off_diagonal_mean(kernel(y, y)) - 2 * kernel(x, y).mean()
    assert metrics.kernel_distances(x, y, seed=0).mean() == pytest.approx(1000 * expected, rel=1e-9)


def test_the_kernel_distance_has_several_values_only_if_subsets_differ():
    x, y = numpy_generator("x").normal(size=(30, 8)), numpy_generator("y").normal(size=(7, 8))
    of_subsets = metrics.kernel_distances(x, y, seed=0)
    assert len(of_subsets) == 100
    assert len(np.unique(of_subsets)) > 90  # each drew another subset
    assert len(metrics.kernel_distances(x, x + 1, seed=0)) == 1


def test_kernel_distance_depends_on_its_seed_alone_and_leaves_the_global_generator():
    x, y = numpy_generator("x").normal(size=(30, 8)), numpy_generator("y").normal(size=(7, 8))
    np.random.seed(5)
    expected_next = np.random.RandomState(5).rand()
    first = metrics.kernel_distances(x, y, seed=0)
    assert np.random.rand() == expected_next
    np.testing.assert_array_equal(metrics.kernel_distances(x, y, seed=0), first)
    assert (metrics.kernel_distances(x, y, seed=1) != first).any()
