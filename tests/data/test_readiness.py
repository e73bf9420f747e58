import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from siftvton.commands.check_data import CheckData, CheckedData, check_data
from siftvton.errors import InputError
from siftvton.files import read_grey, read_image, write_image


@pytest.fixture
def report(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """``report()`` runs the check on ``root`` and returns what it printed; ``report(ready=True)`` asserts success."""

    def run(ready: bool = False, **data: object) -> str:
        settings = {"height": 96, "width": 72, "matches_frame": [96, 72], "validation_pairs": 1, **data}
        config = CheckData(CheckedData(root=str(root), **settings), preview=2, output=str(tmp_path / "out"))
        returned = None
        if ready:
            returned = check_data(config)
        else:
            with pytest.raises(InputError, match="not ready"):
                check_data(config)
        written = (tmp_path / "out" / "report.md").read_text()
        assert (returned or capsys.readouterr().out).startswith(written)
        return written

    return run


def rows(report: str) -> dict[str, list[str]]:
    """Command -> the other cells of its row in the table at the end."""
    cells = [line.strip("|").split("|") for line in report.splitlines() if line.startswith("| ") and "---" not in line]
    return {row[0].split(" (")[0].strip(): [cell.strip() for cell in row[1:]] for row in cells[1:]}


def test_complete_data_is_ready(report: Callable[..., str], tmp_path: Path) -> None:
    text = report(ready=True, split="train")
    assert rows(text) == {"preprocess_sift": ["yes", ""], "train": ["yes", ""]}
    assert "2 pairs, 100.0% with matches; matches per pair: mean 2.0, median 2, most 2" in text
    assert "cloth_parse-bytedance: no such folder: 3 of 3 (optional)" in text
    sheet = read_image(tmp_path / "out" / "previews.png")
    assert sheet.shape[0] > 2 * 256
    assert (tmp_path / "out" / "check_data.yaml").is_file()


def test_sampling_needs_no_worn_garment_unless_paired(report: Callable[..., str], root: Path) -> None:
    assert rows(report(ready=True, split="test"))["infer setting=paired"] == ["yes", ""]
    (root / "test" / "cloth" / "x_00.jpg").unlink()
    text = report(split="all")
    assert rows(text)["infer setting=paired"] == ["no", "cloth: 1 of 1 missing"]
    assert rows(text)["infer setting=unpaired"] == ["yes", ""]
    assert rows(text)["evaluate"] == ["yes", ""]
    assert "no file in cloth has a person's file name" in text
    assert "use setting=unpaired, or rename the garments" in text


@pytest.mark.parametrize(
    ("kind", "scripts"),
    [
        ("image", ["preprocess_sift", "train"]),
        ("cloth", ["preprocess_sift", "train"]),
        ("agnostic-v3.2", ["train"]),
        ("agnostic-mask", ["train"]),
        ("image-densepose", ["train"]),
        ("sift_matching", ["train"]),
        ("cloth-mask", []),
        ("gt_cloth_warped_mask", []),
    ],
)
def test_a_missing_folder_is_reported_once_with_the_commands_that_need_it(
    report: Callable[..., str], root: Path, kind: str, scripts: list[str]
) -> None:
    shutil.rmtree(root / "train" / kind)
    text = report(ready=not scripts, split="train")
    told = [line for line in text.splitlines() if f"train: {kind}: no such folder" in line]
    assert len(told) == 1
    assert ("(optional)" in told[0]) == (not scripts)
    assert [script for script, (ready, _) in rows(text).items() if ready == "no"] == scripts
    assert all(kind in rows(text)[script][1] for script in scripts)


def test_missing_files_are_named_and_counted(report: Callable[..., str], root: Path) -> None:
    (root / "train" / "agnostic-mask" / "b_00_mask.png").unlink()
    text = report(split="train")
    assert "agnostic-mask: no such file: 1 of 3" in text
    assert "  - b_00_mask.png" in text
    assert rows(text)["train"] == ["no", "agnostic-mask: 1 of 3 missing"]
    assert rows(text)["preprocess_sift"] == ["yes", ""]


def test_long_lists_are_cut_short(report: Callable[..., str], root: Path) -> None:
    lines = (root / "train_pairs.txt").read_text()
    (root / "train_pairs.txt").write_text(lines + "".join(f"p{number}.jpg p{number}.jpg\n" for number in range(9)))
    text = report(split="train")
    assert "image: no such file: 9 of 12" in text
    assert "  - … and 4 more" in text


def test_inverted_masks_are_found(report: Callable[..., str], root: Path) -> None:
    for kind, file in (
        ("agnostic-mask", "a_00_mask.png"),
        ("cloth-mask", "a_00.jpg"),
        ("gt_cloth_warped_mask", "b_00.png"),
    ):
        path = root / "train" / kind / file
        write_image(path, 255 - read_grey(path))
    smaller = cv2.resize(read_grey(path), (36, 48), interpolation=cv2.INTER_NEAREST)
    write_image(path, smaller)  # a worn mask may have any size
    write_image(root / "train" / "agnostic-mask" / "c_00_mask.png", np.full((96, 72), 255, np.uint8))
    write_image(root / "train" / "agnostic-v3.2" / "c_00.jpg", np.full((96, 72, 3), 128, np.uint8))
    text = report(split="train", validation_pairs=0)
    for kind in ("agnostic-mask", "cloth-mask", "gt_cloth_warped_mask"):
        assert f"{kind}: has the wrong polarity: 1 of 3" in text
    assert rows(text)["train"] == ["no", "agnostic-mask: 1 of 3 wrong"]
    assert rows(text)["preprocess_sift"] == ["no", "agnostic-mask: 1 of 3 wrong; cloth-mask: 1 of 3 wrong"]


def test_inverted_mask_before_a_grey_wall_is_found(report: Callable[..., str], root: Path) -> None:
    """Most of such a photo is as grey as the region to paint."""
    photo = np.full((96, 72, 3), 128, np.uint8)
    photo[10:90, 30:42] = (180, 120, 90)
    agnostic = photo.copy()
    agnostic[30:70, 20:50] = 128
    write_image(root / "train" / "image" / "a_00.jpg", photo)
    write_image(root / "train" / "agnostic-v3.2" / "a_00.jpg", agnostic)
    assert "polarity" not in report(ready=True, split="train")
    mask = root / "train" / "agnostic-mask" / "a_00_mask.png"
    write_image(mask, 255 - read_grey(mask))
    assert "agnostic-mask: has the wrong polarity: 1 of 3" in report(split="train")


def test_mask_that_does_not_fit_the_agnostic_picture_is_found(report: Callable[..., str], root: Path) -> None:
    folder = root / "train"
    agnostic = read_image(folder / "image" / "a_00.jpg").copy()
    agnostic[30:70, 20:50] = 0
    write_image(folder / "agnostic-v3.2" / "a_00.jpg", agnostic)
    write_image(folder / "agnostic-mask" / "b_00_mask.png", np.zeros((96, 72), np.uint8))
    other = 255 - read_image(folder / "agnostic-v3.2" / "c_00.jpg")
    other[30:70, 20:50] = 128
    write_image(folder / "agnostic-v3.2" / "c_00.jpg", other)
    text = report(split="train")
    assert "agnostic-mask: does not fit its agnostic picture: 1 of 3" in text
    assert "agnostic-mask: has no white region: 1 of 3" in text
    assert "agnostic-v3.2: does not show its photo where nothing is painted: 1 of 3" in text


def test_densepose_colours_are_judged(report: Callable[..., str], root: Path) -> None:
    folder = root / "train" / "image-densepose"
    rendering = read_image(folder / "a_00.png")
    write_image(folder / "a_00.png", rendering[:, :, ::-1])  # blue and red swapped
    write_image(folder / "b_00.png", np.zeros_like(rendering))
    legs = np.zeros_like(rendering)
    legs[60:90, 30:40] = cv2.applyColorMap(np.array([[7 * 255 // 24]], np.uint8), cv2.COLORMAP_PARULA)[0, 0, ::-1]
    write_image(folder / "c_00.png", legs)
    text = report(split="train")
    assert "image-densepose: is not in DensePose's colours: 1 of 3" in text
    assert "image-densepose: shows nobody: 1 of 3 (remark)" in text
    assert "image-densepose: shows no torso from the front: 1 of 3 (remark)" in text
    assert rows(text)["train"] == ["no", "image-densepose: 1 of 3 wrong"]


def test_jpeg_densepose_passes(report: Callable[..., str], root: Path) -> None:
    folder = root / "train" / "image-densepose"
    for path in list(folder.iterdir()):
        write_image(path.with_suffix(".jpg"), read_image(path))
        path.unlink()
    assert "image-densepose" not in report(ready=True, split="train")


def test_broken_grey_and_wrongly_sized_pictures_are_found(report: Callable[..., str], root: Path) -> None:
    folder = root / "train"
    content = (folder / "image" / "a_00.jpg").read_bytes()
    (folder / "image" / "a_00.jpg").write_bytes(content[:400])
    write_image(folder / "cloth" / "b_00.jpg", np.zeros((96, 72), np.uint8))
    write_image(folder / "agnostic-mask" / "b_00_mask.png", np.full((48, 36), 255, np.uint8))
    write_image(folder / "cloth" / "c_00.jpg", np.full((96, 96, 3), 250, np.uint8))
    text = report(split="train")
    assert "image: cannot be read: 1 of 3" in text
    assert "a_00.jpg: cannot be decoded" in text
    assert "cloth: cannot be read: 1 of 3" in text
    assert "picture has mode L" in text
    assert "agnostic-mask: has a different size from its photo: 1 of 3" in text
    assert "b_00_mask.png: it is 48 × 36, the photo is 96 × 72, height × width" in text
    assert "cloth: has different proportions from data.height and data.width: 1 of 3 (remark)" in text
    assert "cloth-mask: has different proportions from its garment picture: 1 of 3" in text
    assert rows(text)["preprocess_sift"][0] == "no"


def test_parsing_and_mask_of_a_garment_are_judged(report: Callable[..., str], root: Path) -> None:
    folder = root / "train"
    parsing = np.zeros((48, 36), np.uint8)
    parsing[6:42, 5:31] = 5
    for name in ("a_00", "b_00", "c_00"):
        write_image(folder / "cloth_parse-bytedance" / f"{name}.png", parsing)
    assert "cloth_parse-bytedance" not in report(ready=True, split="train")
    write_image(folder / "cloth_parse-bytedance" / "a_00.png", parsing // 5 * 3)
    write_image(folder / "cloth-mask" / "b_00.jpg", np.zeros((96, 72), np.uint8))
    text = report(split="train")
    assert "cloth_parse-bytedance: has no label of the torso or a sleeve: 1 of 3" in text
    assert "  - a_00.png: labels [0, 3]" in text
    assert "cloth-mask: has no white region: 1 of 3" in text
    assert rows(text)["preprocess_sift"] == ["no", "cloth-mask: 1 of 3 wrong; cloth_parse-bytedance: 1 of 3 wrong"]


def test_previews_show_what_can_be_read(report: Callable[..., str], root: Path, tmp_path: Path) -> None:
    complete = report(ready=True, split="train") and read_image(tmp_path / "out" / "previews.png")
    for kind in ("image", "agnostic-mask", "cloth-mask", "sift_matching"):
        for path in (root / "train" / kind).iterdir():
            path.write_bytes(b"")
    report(split="train")
    broken = read_image(tmp_path / "out" / "previews.png")
    assert broken.shape == complete.shape
    height, width = 22 + 256, 192  # of a caption and a picture
    assert (broken[30:height, :width] == 128).all(), "a photo that cannot be read is grey"
    assert (complete[30:height, :width] != 128).any()


def test_a_frame_of_any_size_can_be_drawn(report: Callable[..., str], tmp_path: Path) -> None:
    """Guards five pictures of a mistyped frame size, which did not fit into the memory."""
    report(ready=True, split="train", matches_frame=[10**6, 10**6])
    assert read_image(tmp_path / "out" / "previews.png").shape[0] > 2 * 256


def test_broken_and_empty_matches(report: Callable[..., str], root: Path) -> None:
    folder = root / "train" / "sift_matching"
    for name in ("a_00", "b_00", "c_00"):
        (folder / f"{name}_sift_matches.json").write_text("[]")
    text = report(ready=True, split="train", validation_pairs=0)
    assert "3 pairs, 0.0% with matches" in text
    (folder / "a_00_sift_matches.json").write_text("[[[1, NaN], [2, 3]]]")
    (folder / "b_00_sift_matches.json").write_text("[[[1, 2], [2, 3")
    text = report(split="train", validation_pairs=0)
    assert "sift_matching: cannot be read: 2 of 3" in text
    assert rows(text)["train"] == ["no", "sift_matching: 2 of 3 wrong"]


def test_matches_of_a_smaller_frame_are_noticed(report: Callable[..., str], root: Path) -> None:
    points = [[[x, y], [x, y]] for x in range(0, 72, 6) for y in range(0, 96, 8)]
    for path in (root / "train" / "sift_matching").iterdir():
        path.write_text(str(points))
    assert "seems too large" not in report(ready=True, split="train")
    assert "data.matches_frame seems too large" in report(ready=True, split="train", matches_frame=[192, 144])


def test_pair_lists_are_checked(report: Callable[..., str], root: Path) -> None:
    assert "validation_pairs=9" in rows(report(split="train", validation_pairs=9))["train"][1]
    (root / "train_pairs.txt").write_text("")
    table = rows(report(split="train"))
    assert "contains no pair" in table["preprocess_sift"][1]
    assert "contains no pair" in table["train"][1]
    (root / "train_pairs.txt").unlink()
    assert "no such pair list" in rows(report(split="train"))["train"][1]
    shutil.rmtree(root / "train")
    assert "no such folder" in rows(report(split="all"))["train"][1]


def test_persons_in_two_splits_stop_training(report: Callable[..., str], root: Path) -> None:
    (root / "siftvton_train_pairs.txt").write_text("a_00.jpg a_00.jpg\nb_00.jpg b_00.jpg\n")
    (root / "siftvton_val_pairs.txt").write_text("b_00.jpg c_00.jpg\n")
    ready, reason = rows(report(split="train"))["train"]
    assert ready == "no"
    assert "b_00.jpg is also in the training list" in reason


def test_validation_pairs_are_read_from_train(report: Callable[..., str], root: Path) -> None:
    table = rows(report(ready=True, split="validation"))
    assert table["infer setting=unpaired"] == ["yes", ""]
    shutil.rmtree(root / "train" / "agnostic-v3.2")
    assert rows(report(split="validation"))["infer setting=unpaired"] == ["no", "agnostic-v3.2: 1 of 1 missing"]


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such folder; data/README"):
        check_data(CheckData(CheckedData(root=str(tmp_path / "nowhere")), output=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()
