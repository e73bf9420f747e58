import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from siftvton.data.dataset import TryOnDataset, TryOnItem, collate
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.errors import InputError
from siftvton.files import read_image, write_image

FRAME = (96, 72)
SIZE = (64, 48)


def training_set(root: Path, size: tuple[int, int] = SIZE, **options: object) -> TryOnDataset:
    pairs = VitonHD(root).split("train").pairs("paired")
    options = {"matches": root / "train" / "sift_matching", "matches_frame": FRAME, **options}
    return TryOnDataset(VitonHD(root).split("train"), pairs, *size, **options)


def matches_file(root: Path) -> Path:
    return root / "train" / "sift_matching" / "a_00_sift_matches.json"


def assert_equal(first: TryOnItem, second: TryOnItem) -> None:
    for name in ("image", "agnostic", "densepose", "keep_mask", "garment"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    np.testing.assert_array_equal(first.matches.person, second.matches.person)
    np.testing.assert_array_equal(first.matches.garment, second.matches.garment)


def test_shapes_types_and_ranges(root: Path) -> None:
    dataset = training_set(root, worn_mask=True)
    assert len(dataset) == 3
    item = dataset[0, 1]
    for name in ("image", "agnostic", "densepose", "garment"):
        picture = getattr(item, name)
        assert picture.shape == (3, *SIZE)
        assert picture.dtype == torch.float32
        assert picture.min() >= -1
        assert picture.max() <= 1
    assert item.keep_mask.shape == item.worn_mask.shape == (1, *SIZE)
    assert item.pair.person == item.pair.garment == "b_00.jpg"
    assert item.key == (0, 1)


def test_pictures_are_the_files_resized(root: Path) -> None:
    item = training_set(root)[0, 0]
    for name, file in (
        ("image", "image/a_00.jpg"),
        ("garment", "cloth/a_00.jpg"),
        ("densepose", "image-densepose/a_00.png"),
    ):
        expected = read_image(root / "train" / file, SIZE)
        np.testing.assert_array_equal((getattr(item, name) + 1).mul(127.5).round().permute(1, 2, 0), expected)


def test_keep_mask_is_zero_where_to_paint_and_has_soft_edges(root: Path) -> None:
    """Masks are made black and white at their own size, and resized afterwards."""
    mask = np.zeros(FRAME, np.uint8)
    mask[30:70, 20:50] = 140
    mask[:20] = 120
    write_image(root / "train" / "agnostic-mask" / "a_00_mask.png", mask)
    item = training_set(root)[0, 0]
    expected = 255 - cv2.resize((mask >= 128).astype(np.uint8) * 255, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(item.keep_mask[0] * 255, expected, atol=1e-4)
    assert item.keep_mask[0, 30, 20] == 0
    assert item.keep_mask[0, 5, 5] == 1
    assert ((item.keep_mask > 0) & (item.keep_mask < 1)).any()


def test_worn_mask_is_one_on_the_garment(root: Path) -> None:
    item = training_set(root, size=FRAME, worn_mask=True)[0, 0]
    assert item.worn_mask[0, 34:64, 25:45].min() == 1
    assert item.worn_mask.sum() == 30 * 20
    assert training_set(root)[0, 0].worn_mask is None


def test_matches_are_rounded_in_their_frame_then_mapped(root: Path) -> None:
    matches_file(root).write_text("[[[10.5, 20.4], [11.5, 7.6]], [[0.2, 0.3], [30, 40]]]")
    item = training_set(root, size=(192, 144))[0, 0]
    np.testing.assert_array_equal(item.matches.person, [[20.5, 40.5], [0.5, 0.5]])  # (10 + ½)·2 − ½, half to even
    np.testing.assert_array_equal(item.matches.garment, [[24.5, 16.5], [60.5, 80.5]])
    assert item.matches.frame == (192, 144)


def test_matches_can_be_interpolated_at_the_training_size(root: Path) -> None:
    corners = [[20, 30], [50, 30], [20, 60], [50, 60]]
    matches_file(root).write_text(json.dumps([[[x, y], [x, y + 4]] for x, y in corners]))
    found, near, all_between = (
        training_set(root, size=FRAME, match_reach=reach)[0, 0].matches for reach in (0.0, 8.0, 90.0)
    )
    assert 4 == len(found) < len(near) < len(all_between)
    np.testing.assert_array_equal(near.person[:4], found.person)
    np.testing.assert_allclose(all_between.garment, all_between.person + np.array([0, 4]), atol=1e-6)


def test_matches_that_leave_the_picture_are_dropped(root: Path) -> None:
    matches_file(root).write_text("[[[71.5, 20], [30, 30]], [[30, 40], [30, 40]]]")  # 71.5 is rounded to 72
    item = training_set(root, size=FRAME)[0, 0]
    np.testing.assert_array_equal(item.matches.person, [[30, 40]])


def test_a_pair_without_matches_is_normal(root: Path) -> None:
    matches_file(root).write_text("[]")
    for augmented in (False, True):
        batch = collate([training_set(root, augmented=augmented)[0, index] for index in range(3)])
        assert len(batch.matches[0]) == 0
        assert batch.matches[0].frame == SIZE
        assert len(batch.matches) == 3


def test_without_a_folder_of_matches_there_are_none(root: Path) -> None:
    item = training_set(root, matches=None, matches_frame=None)[0, 0]
    assert len(item.matches) == 0
    assert item.matches.frame == SIZE


def test_augmentation_moves_matches_with_the_pixels(root: Path) -> None:
    person, garment = np.array([36.0, 48.0]), np.array([30.0, 50.0])
    for kind, (x, y) in (("image", person), ("cloth", garment)):
        picture = np.zeros((*FRAME, 3), np.uint8)
        cv2.circle(picture, (int(x), int(y)), 4, (255, 255, 255), -1)
        write_image(root / "train" / kind / "a_00.jpg", picture)
    agnostic = np.zeros((*FRAME, 3), np.uint8)
    agnostic[30:70, 20:50] = 128
    write_image(root / "train" / "agnostic-v3.2" / "a_00.jpg", agnostic)
    matches_file(root).write_text(json.dumps([[person.tolist(), garment.tolist()]]))

    dataset, moved = training_set(root, size=(192, 144), augmented=True), 0
    for epoch in range(12):
        item = dataset[epoch, 0]
        for picture, point in ((item.image, item.matches.person), (item.garment, item.matches.garment)):
            weight = (picture.mean(dim=0) > 0).double()
            rows, columns = torch.meshgrid(torch.arange(192.0), torch.arange(144.0), indexing="ij")
            seen = [(columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()]
            np.testing.assert_allclose(point[0], seen, atol=0.6)  # a drawn disc has hard, recoloured edges
            moved += int(abs(point[0] - [72.5, 96.5]).max() > 5)
    assert moved > 6


def test_items_depend_on_seed_epoch_and_index_alone(root: Path) -> None:
    dataset = training_set(root, augmented=True, seed=3)
    keys = [(0, 0), (0, 1), (1, 0), (1, 2)]
    straight = [dataset[key] for key in keys]
    loader = DataLoader(
        dataset, batch_sampler=[[keys[3], keys[2]], [keys[1], keys[0]]], num_workers=2, collate_fn=lambda items: items
    )
    for item, expected in zip([item for batch in loader for item in batch], straight[::-1], strict=True):
        assert item.key == expected.key
        assert_equal(item, expected)
    assert not torch.equal(straight[0].image, straight[2].image), "two epochs made the same draws"
    assert not torch.equal(training_set(root, augmented=True, seed=4)[0, 0].image, straight[0].image)


def test_an_index_alone_means_epoch_0(root: Path) -> None:
    dataset = training_set(root, augmented=True)
    assert_equal(dataset[1], dataset[0, 1])
    assert dataset[1].key == (0, 1)


def test_batch_stacks_tensors_and_lists_the_rest(root: Path) -> None:
    dataset = training_set(root, worn_mask=True)
    items = [dataset[5, 0], dataset[5, 2]]
    batch = collate(items).to("cpu")
    assert len(batch) == 2
    assert batch.image.shape == (2, 3, *SIZE)
    assert batch.worn_mask.shape == (2, 1, *SIZE)
    assert batch.size == SIZE
    assert batch.garment_224.shape == (2, 3, 224, 224)
    assert torch.equal(batch.garment_224[1:], collate(items[1:]).garment_224)
    assert batch.key == [(5, 0), (5, 2)]
    assert [pair.person for pair in batch.pair] == ["a_00.jpg", "c_00.jpg"]
    assert [len(matches) for matches in batch.matches] == [2, 2]
    assert collate([training_set(root)[0, 0]]).worn_mask is None


def test_batch_can_be_pinned(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DataLoader pins batches if there is a GPU."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 0)
    batch = collate([training_set(root)[0, 0]])
    pinned = batch.pin_memory()
    assert torch.equal(pinned.keep_mask, batch.keep_mask)
    assert pinned.keep_mask is not batch.keep_mask
    assert pinned.worn_mask is None
    assert pinned.matches is batch.matches


def test_unpaired_items_take_the_second_columns_garment(root: Path) -> None:
    pairs = VitonHD(root).split("test").pairs("unpaired")
    item = TryOnDataset(VitonHD(root).split("test"), pairs, *FRAME)[0]
    np.testing.assert_array_equal(
        (item.garment + 1).mul(127.5).round().permute(1, 2, 0), read_image(root / "test" / "cloth" / "y_00.jpg")
    )
    np.testing.assert_array_equal(
        (item.image + 1).mul(127.5).round().permute(1, 2, 0), read_image(root / "test" / "image" / "x_00.jpg")
    )


@pytest.mark.parametrize("kind", ["image", "agnostic-v3.2", "agnostic-mask", "image-densepose", "cloth"])
def test_missing_file_is_named(root: Path, kind: str) -> None:
    path = sorted((root / "train" / kind).iterdir())[0]
    path.unlink()
    name = path.stem if kind == "image-densepose" else path.name  # it may have another suffix
    with pytest.raises(InputError, match=f"{kind}/{name}.*no such file"):
        training_set(root)[0, 0]
    with pytest.raises(InputError, match=f"{kind}/{name}.*check_data"):
        training_set(root).require_files()


def test_complete_data_passes(root: Path) -> None:
    training_set(root, worn_mask=True).require_files()


def test_missing_matches_are_named_with_their_remedy(root: Path) -> None:
    matches_file(root).unlink()
    with pytest.raises(InputError, match=r"a_00_sift_matches\.json.*preprocess_sift"):
        training_set(root)[0, 0]
    with pytest.raises(InputError, match=r"a_00_sift_matches\.json: no such file"):
        training_set(root).require_files()
    with pytest.raises(InputError, match=r"elsewhere.*preprocess_sift.*data\.matches"):
        training_set(root, matches=root / "elsewhere")


def test_a_missing_worn_mask_matters_only_if_it_is_requested(root: Path) -> None:
    (root / "train" / "gt_cloth_warped_mask" / "a_00.png").unlink()
    training_set(root).require_files()
    with pytest.raises(InputError, match="gt_cloth_warped_mask/a_00"):
        training_set(root, worn_mask=True).require_files()


@pytest.mark.parametrize(
    ("kind", "file"),
    [("agnostic-v3.2", "a_00.jpg"), ("agnostic-mask", "a_00_mask.png"), ("image-densepose", "a_00.png")],
)
def test_side_picture_of_another_size_is_named(root: Path, kind: str, file: str) -> None:
    path = root / "train" / kind / file
    grey_or_colour = (48, 36) if kind == "agnostic-mask" else (48, 36, 3)
    write_image(path, np.zeros(grey_or_colour, np.uint8))
    with pytest.raises(
        InputError, match=rf"{kind}/{file}: has a different size from its photo \(it is 48 × 36, the photo is 96 × 72"
    ):
        training_set(root)[0, 0]


def test_inverted_mask_is_named(root: Path) -> None:
    path = root / "train" / "agnostic-mask" / "a_00_mask.png"
    write_image(path, 255 - cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    with pytest.raises(InputError, match=r"a_00_mask\.png: has the wrong polarity.*invert"):
        training_set(root)[0, 0]


def test_truncated_and_grey_pictures_are_named(root: Path) -> None:
    path = root / "train" / "image" / "a_00.jpg"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"image/a_00\.jpg: cannot be decoded"):
        training_set(root)[0, 0]
    write_image(path, np.zeros(FRAME, np.uint8))
    with pytest.raises(InputError, match=r"image/a_00\.jpg: the picture has mode L"):
        training_set(root)[0, 0]


@pytest.mark.parametrize(
    "content", ["[[[1, 2], [3", "[[[1, NaN], [3, 4]]]", "[[[1, 2], [3, 400]]]", "[[[1, 2], [-9, 4]]]", "[[1, 2, 3, 4]]"]
)
def test_bad_matches_are_named(root: Path, content: str) -> None:
    matches_file(root).write_text(content)
    with pytest.raises(InputError, match=r"a_00_sift_matches\.json: "):
        training_set(root)[0, 0]
