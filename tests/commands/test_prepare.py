"""``prepare`` from a user's folder to data in VITON-HD's layout, with broken pictures among them."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_person import drawn_joints, write_garment, write_person
from PIL import Image
from tiny_models import save_parsing, save_program

from siftvton.commands.prepare import Prepare, prepare
from siftvton.correspondence.regions import PART_COLOURS
from siftvton.data.dataset import TryOnDataset
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.errors import InputError, UsageError
from siftvton.files import read_grey, read_image, read_json, sha256, write_image, write_json
from siftvton.prepare.config import ModelsConfig
from siftvton.prepare.framing import Framing
from siftvton.prepare.joints import Joints, openpose

NO_MODELS = {"detector": None, "pose": None, "parsing": None, "densepose": None}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two persons with parsing, joints and, for the first, DensePose; two garments."""
    folder = tmp_path / "photos"
    for name in ("anna", "bert"):
        write_person(folder, name)
        write_garment(folder, f"{name}_shirt")
    densepose = np.zeros((256, 192, 3), np.uint8)
    densepose[80:170, 70:125] = PART_COLOURS[2]
    write_image(folder / "image-densepose" / "anna.png", densepose)
    return folder


@pytest.fixture
def run(tmp_path: Path, photos: Path) -> Callable[..., str]:
    """``run(key=value, …)`` prepares ``photos`` to ``tmp_path / "out"`` and returns the text."""

    def called(**keys: object) -> str:
        keys = {"input": str(photos), "output": str(tmp_path / "out"), **keys}
        models = ModelsConfig(**{**NO_MODELS, **keys.pop("models", {})})
        return prepare(Prepare(models=models, **keys))

    return called


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}


def failures(run: Callable[..., str], **keys: object) -> str:
    with pytest.raises(InputError) as raised:
        run(**keys)
    return str(raised.value)


def test_a_folder_becomes_data_in_viton_hds_layout(run: Callable[..., str], photos: Path, tmp_path: Path):
    before = contents(photos)
    text = run()
    assert contents(photos) == before
    out = tmp_path / "out"
    names = {
        f"test/{kind}"
        for person in ("anna", "bert")
        for kind in (
            f"image/{person}.jpg",
            f"agnostic-mask/{person}_mask.png",
            f"agnostic-v3.2/{person}.jpg",
            f"image-parse-v3/{person}.png",
            f"openpose_json/{person}_keypoints.json",
            f"prepared/image/{person}.json",
            f"cloth/{person}_shirt.jpg",
            f"cloth-mask/{person}_shirt.jpg",
            f"prepared/cloth/{person}_shirt.json",
        )
    }
    others = {"prepare.yaml", "test_pairs.txt", "sheets/persons-001.jpg", "sheets/garments-001.jpg"}
    assert set(contents(out)) == names | others | {"test/image-densepose/anna.jpg"}
    assert (out / "test_pairs.txt").read_text() == "anna.jpg anna_shirt.jpg\nbert.jpg bert_shirt.jpg\n"
    assert text.startswith(f"{out / 'test'}: 2 persons and 2 garments are prepared\n")
    assert "- bert.jpg: there is no DensePose picture, which try-on requires" in text
    assert "| infer setting=unpaired (test, 2 pairs) | no | image-densepose: 1 of 2 missing |" in text


def test_the_mask_is_drawn_for_the_chosen_category(run: Callable[..., str], photos: Path, tmp_path: Path):
    run()
    before = read_grey(tmp_path / "out" / "test" / "agnostic-mask" / "anna_mask.png")
    assert "4 of them by an earlier run" not in run(category="dresses")
    dress = read_grey(tmp_path / "out" / "test" / "agnostic-mask" / "anna_mask.png")
    assert (before[230:] > 0).sum() < (dress[230:] > 0).sum()
    shutil.rmtree(photos / "image-parse-v3")
    assert "a mask for category=dresses requires parsing labels; give them" in failures(run, category="dresses")


def test_a_person_with_all_side_files_can_be_dressed(run: Callable[..., str], photos: Path, tmp_path: Path):
    for path in [*photos.rglob("bert.*"), *photos.rglob("bert_keypoints.json")]:
        path.unlink()
    assert "| infer setting=unpaired (test, 1 pair) | yes |" in run()
    split = VitonHD(tmp_path / "out").split("test")
    item = TryOnDataset(split, split.pairs("unpaired"), 64, 48)[0]
    assert 0.1 < (1 - item.keep_mask).mean() < 0.9


def test_the_sheet_has_a_row_for_each_person_with_five_pictures(run: Callable[..., str], tmp_path: Path):
    run()
    sheet = read_image(tmp_path / "out" / "sheets" / "persons-001.jpg")
    assert sheet.shape == (2 * (22 + 256 + 8), 5 * (192 + 8), 3)
    assert (sheet[400, 2 * 200 + 100] == 128).all()  # bert has no DensePose
    run(preview=0, output=str(tmp_path / "other"))
    assert not (tmp_path / "other" / "sheets").exists()


def test_the_same_command_again_keeps_what_is_done(run: Callable[..., str], tmp_path: Path):
    run()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "test").rglob("*")}
    assert "2 persons and 2 garments are prepared, 4 of them by an earlier run" in run()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "test").rglob("*")} == times


def test_a_stopped_run_continues_with_what_is_not_complete(
    run: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run(output=str(tmp_path / "straight"))
    written = []

    def stops(path: Path, image: np.ndarray) -> None:
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(path)
        write_image(path, image)

    monkeypatch.setattr("siftvton.prepare.store.write_image", stops)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not (tmp_path / "out" / "test" / "prepared" / "image" / "bert.json").exists()
    monkeypatch.undo()
    assert "4 of them" not in run()
    straight, stopped = contents(tmp_path / "straight" / "test"), contents(tmp_path / "out" / "test")
    assert stopped == straight


@pytest.mark.parametrize("change", ["picture", "side", "new side", "setting", "lost file", "damaged record"])
def test_an_item_is_made_again_if_anything_it_was_made_from_changed(
    run: Callable[..., str], photos: Path, tmp_path: Path, change: str
):
    run()
    keys: dict[str, object] = {}
    if change == "picture":
        write_image(photos / "image" / "bert.jpg", read_image(photos / "image" / "bert.jpg") // 2)
    elif change == "side":
        write_json(photos / "openpose_json" / "bert_keypoints.json", openpose(drawn_joints(0.25, (4, 0))))
    elif change == "new side":
        shutil.copy(photos / "image-densepose" / "anna.png", photos / "image-densepose" / "bert.png")
    elif change == "setting":
        keys["height"], keys["width"] = 192, 144
    elif change == "lost file":
        (tmp_path / "out" / "test" / "agnostic-mask" / "bert_mask.png").unlink()
    else:
        (tmp_path / "out" / "test" / "prepared" / "image" / "bert.json").write_text("{}")
    assert ("3 of them by an earlier run" in run(**keys)) == (change != "setting")
    run(output=str(tmp_path / "fresh"), **keys)
    assert contents(tmp_path / "out" / "test") == contents(tmp_path / "fresh" / "test")


def test_a_side_that_is_not_given_any_more_leaves_no_old_file(run: Callable[..., str], photos: Path, tmp_path: Path):
    run()
    (photos / "image-densepose" / "anna.png").unlink()
    run()
    assert not (tmp_path / "out" / "test" / "image-densepose" / "anna.jpg").exists()


def test_the_way_back_is_kept_for_each_photo(run: Callable[..., str], photos: Path, tmp_path: Path):
    photo = read_image(photos / "image" / "bert.jpg")
    wide = np.full((256, 600, 3), 225, np.uint8)
    wide[:, 300:492] = photo
    write_image(photos / "image" / "bert.jpg", wide)
    (photos / "image-parse-v3" / "bert.png").unlink()
    write_json(photos / "openpose_json" / "bert_keypoints.json", openpose(drawn_joints(0.25, (300, 0))))
    run()
    path = tmp_path / "out" / "test" / "prepared" / "image" / "bert.json"
    framing = Framing.from_json(read_json(path)["framing"], path)
    assert framing.photo == (256, 600)
    assert framing.size == (256, 192)
    assert framing.inside == framing.window
    mask = read_grey(tmp_path / "out" / "test" / "agnostic-mask" / "bert_mask.png")
    changed = (framing.undo(np.zeros((256, 192, 3), np.uint8), wide, mask) != wide).any(axis=(0, 2))
    columns = np.flatnonzero(changed)
    assert columns[0] > 300
    assert columns[-1] < 492


def test_a_photo_stored_lying_on_its_side_is_turned(run: Callable[..., str], photos: Path, tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = read_image(photos / "image" / "bert.jpg")
    Image.fromarray(np.rot90(photo)).save(photos / "image" / "bert.jpg", exif=exif, quality=95)
    run()
    shown = read_image(tmp_path / "out" / "test" / "image" / "bert.jpg")
    assert np.abs(shown.astype(int) - photo).mean() < 4
    assert not Image.open(tmp_path / "out" / "test" / "image" / "bert.jpg").getexif()


def test_the_users_pairs_are_kept_and_others_are_added(run: Callable[..., str], photos: Path, tmp_path: Path):
    write_person(photos, "carl")
    (photos / "test_pairs.txt").write_text("bert.jpg anna_shirt.jpg\nbert.jpg bert_shirt.jpg\nzoe.jpg anna_shirt.jpg\n")
    run()
    assert (tmp_path / "out" / "test_pairs.txt").read_text().splitlines() == [
        "bert.jpg anna_shirt.jpg",
        "bert.jpg bert_shirt.jpg",
        "anna.jpg anna_shirt.jpg",
        "carl.jpg anna_shirt.jpg",
    ]


def test_a_broken_pair_list_is_refused_before_anything_is_made(run: Callable[..., str], photos: Path, tmp_path: Path):
    (photos / "test_pairs.txt").write_text("bert.jpg\n")
    with pytest.raises(InputError, match=r"test_pairs\.txt, line 1: 'bert\.jpg' is not two file names"):
        run()
    assert not (tmp_path / "out").exists()


def test_nobody_is_paired_with_the_worn_garment_but_in_training(run: Callable[..., str], photos: Path, tmp_path: Path):
    for path in (photos / "cloth").iterdir():
        path.rename(path.with_name(path.name.replace("_shirt", "")))
    run()
    assert (tmp_path / "out" / "test_pairs.txt").read_text() == "anna.jpg bert.jpg\nbert.jpg anna.jpg\n"
    (photos / "train").mkdir()
    for folder in [path for path in photos.iterdir() if path.name != "train"]:
        folder.rename(photos / "train" / folder.name)
    text = run(output=str(tmp_path / "training"))
    assert (tmp_path / "training" / "train_pairs.txt").read_text() == "anna.jpg anna.jpg\nbert.jpg bert.jpg\n"
    assert "| preprocess_sift (train, 2 pairs) | yes |" in text


def test_models_make_what_is_missing_and_are_recorded(
    run: Callable[..., str], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.rmtree(photos / "image-parse-v3")
    photo = np.zeros((256, 192, 3), np.uint8)
    photo[30:, 40:150] = 230  # what the program of the tests takes for a person
    write_image(photos / "image" / "bert.jpg", photo)
    program = save_program(tmp_path / "models" / "densepose.torchscript")
    models = {
        "parsing": str(save_parsing(tmp_path / "models" / "parsing")),
        "densepose": str(program),
        "densepose_sha256": sha256(program),
    }
    run(models=models)
    assert "| models.parsing | clothes and skin | SegFormer B2 |" in capsys.readouterr().out
    out = tmp_path / "out"
    assert read_image(out / "test" / "image-densepose" / "bert.jpg").any()
    assert (out / "test" / "image-parse-v3" / "anna.png").is_file()
    recorded = json.loads((out / "models.json").read_text())
    assert recorded["densepose"]["sha256"] == {program.name: sha256(program)}
    assert set(recorded) == {"parsing", "densepose"}
    run(models=models)
    assert "models.parsing" not in capsys.readouterr().out  # the licences are shown once


def test_a_model_that_can_be_had_later_completes_what_is_missing(run: Callable[..., str], photos: Path, tmp_path: Path):
    (photos / "image-parse-v3" / "anna.png").unlink()
    assert "- models.parsing=null: there is no model that finds clothes and skin" in run()
    assert not (tmp_path / "out" / "test" / "image-parse-v3" / "anna.png").exists()
    run(models={"parsing": str(save_parsing(tmp_path / "parsing"))})
    assert (tmp_path / "out" / "test" / "image-parse-v3" / "anna.png").exists()


def test_a_model_that_cannot_be_had_is_one_line_and_the_rest_is_done(
    run: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    error = failures(run, models={"densepose": "hf://nobody/nothing@main/densepose.torchscript"})
    first, line = error.split("\n")
    assert first == "a model could not be had, so files are missing:"
    assert line.startswith("  models.densepose=hf://nobody/nothing@main/densepose.torchscript: is not on this machine")
    out = tmp_path / "out"
    assert (out / "test" / "agnostic-mask" / "bert_mask.png").is_file()
    assert "2 persons and 2 garments are prepared" in capsys.readouterr().out


def break_person(photos: Path, change: str) -> None:
    """Give bert's photo or one of his files a fault."""
    image, pose = photos / "image" / "bert.jpg", photos / "openpose_json" / "bert_keypoints.json"
    whole = read_image(image)
    if change == "truncated":
        image.write_bytes(image.read_bytes()[:2000])
    elif change == "no picture":
        image.write_text("notes")
    elif change == "no person":
        write_json(pose, {"people": []})
    elif change == "joints missing":
        points = {name: place for name, place in drawn_joints(0.25).points.items() if "left_shoulder" not in name}
        write_json(pose, openpose(Joints(points)))
    elif change == "cropped at the chest":
        points = {name: place for name, place in drawn_joints(0.25).points.items() if "hip" not in name}
        write_json(pose, openpose(Joints(points)))
    elif change == "panorama with a small person":
        wide = np.full((100, 1000, 3), 225, np.uint8)
        wide[:, 400:475] = cv2.resize(whole, (75, 100))
        write_image(image, wide)
        (photos / "image-parse-v3" / "bert.png").unlink()
        write_json(pose, openpose(drawn_joints(100 / 1024, (400, 0))))
    elif change == "100 pixels":
        write_image(image, cv2.resize(whole, (75, 100)))
        write_json(pose, openpose(drawn_joints(100 / 1024)))
    elif change == "parsing of another photo":
        write_image(photos / "image-parse-v3" / "bert.png", np.zeros((200, 200), np.uint8))
    elif change == "no files":
        pose.unlink()
    else:
        raise AssertionError(change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("truncated", "image/bert.jpg: cannot be decoded"),
        ("no picture", "image/bert.jpg: cannot be decoded as JPEG, PNG or WebP; convert it to one of these"),
        ("no person", "openpose_json/bert_keypoints.json: lists no person; use a photo that shows one person"),
        ("joints missing", "left shoulder not found; use a photo that shows one person upright"),
        ("cropped at the chest", "right hip, left hip not found, as in a photo that ends at the chest; use a photo"),
        ("panorama with a small person", "the shoulders are only 23 pixels apart, and a mask needs 32; use a larger"),
        ("100 pixels", "the shoulders are only 23 pixels apart, and a mask needs 32; use a larger photo"),
        ("parsing of another photo", "image-parse-v3/bert.png: has different proportions from its photo"),
        ("no files", "its joints are not known; give OpenPose's file or an agnostic mask, or models that find joints"),
    ],
)
def test_a_photo_that_cannot_be_prepared_is_one_line_and_the_rest_is_done(
    run: Callable[..., str], photos: Path, tmp_path: Path, change: str, message: str
):
    break_person(photos, change)
    before = contents(photos)
    first, line = failures(run).split("\n")
    assert first == "1 of 4 pictures could not be prepared:"
    assert line.startswith(f"  {photos / 'image' / 'bert.jpg'}: ")
    assert message in line
    assert contents(photos) == before
    out = tmp_path / "out"
    assert not [path for path in (out / "test").rglob("bert*") if "shirt" not in path.name]
    assert (out / "test_pairs.txt").read_text() == "anna.jpg anna_shirt.jpg\n"
    assert (out / "test" / "agnostic-mask" / "anna_mask.png").is_file()


def test_strict_stops_at_the_first_picture_that_fails(run: Callable[..., str], photos: Path, tmp_path: Path):
    (photos / "image" / "anna.jpg").write_text("notes")
    error = failures(run, strict=True)
    assert error.startswith(f"{photos / 'image' / 'anna.jpg'}: cannot be decoded as JPEG, PNG or WebP")
    assert "\n" not in error
    assert not (tmp_path / "out" / "test" / "image").exists()


def test_odd_files_are_listed_and_the_rest_is_done(run: Callable[..., str], photos: Path):
    (photos / "image" / "notes.txt").write_text("notes")
    (photos / "image" / "a folder").mkdir()
    (photos / "cloth" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (photos / "cloth" / "Anna_Shirt.png").write_bytes((photos / "cloth" / "anna_shirt.jpg").read_bytes())
    first, *lines = failures(run).split("\n")
    assert first == "5 of 8 pictures could not be prepared:"
    said = {Path(line.strip().partition(": ")[0]).name: line.partition(": ")[2] for line in lines}
    assert said["notes.txt"].startswith("cannot be decoded as JPEG, PNG or WebP; convert it")
    assert said["a folder"].startswith("is a folder, not a file")
    assert said["IMG_1.HEIC"].startswith("cannot be decoded as JPEG, PNG or WebP; convert it")
    for name, other in (("anna_shirt.jpg", "Anna_Shirt.png"), ("Anna_Shirt.png", "anna_shirt.jpg")):
        assert said[name] == f"{other} has the same name if suffix and case are ignored; rename one"


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.random.default_rng(0).integers(0, 256, (256, 192, 3), dtype=np.uint8), "has no plain background"),
        (np.full((256, 192, 3), 20, np.uint8), "has a dark or coloured background"),
        (np.full((256, 192, 3), 250, np.uint8), "shows no garment"),
        (np.zeros((256, 192, 4), np.uint8), "shows no garment"),
    ],
    ids=["worn in a room", "dark", "empty", "transparent"],
)
def test_a_garment_that_cannot_be_prepared_is_one_line(
    run: Callable[..., str], photos: Path, picture: np.ndarray, message: str
):
    Image.fromarray(picture).save(photos / "cloth" / "odd.png")
    first, line = failures(run).split("\n")
    assert first == "1 of 5 pictures could not be prepared:"
    assert line.startswith(f"  {photos / 'cloth' / 'odd.png'}: {message}")


def test_a_transparent_garment_is_put_on_white(run: Callable[..., str], photos: Path, tmp_path: Path):
    picture = np.zeros((256, 192, 4), np.uint8)
    picture[40:220, 50:140] = (180, 40, 60, 255)
    Image.fromarray(picture).save(photos / "cloth" / "cut_out.png")
    run()
    shown = read_image(tmp_path / "out" / "test" / "cloth" / "cut_out.jpg")
    assert (shown[:30] == 255).all()
    mask = read_grey(tmp_path / "out" / "test" / "cloth-mask" / "cut_out.jpg") > 127
    np.testing.assert_array_equal(mask, picture[..., 3] > 127)


def test_an_output_with_other_data_is_refused_and_left_alone(run: Callable[..., str], photos: Path, tmp_path: Path):
    write_person(tmp_path / "mine" / "test", "zoe")
    before = contents(tmp_path / "mine")
    with pytest.raises(UsageError, match="holds data that this command did not make"):
        run(output=str(tmp_path / "mine"))
    assert contents(tmp_path / "mine") == before
    with pytest.raises(UsageError, match="holds the input itself"):
        run(input=str(tmp_path / "mine"), output=str(tmp_path / "mine"))
    run()
    with pytest.raises(UsageError, match="holds data of another input"):
        run(input=str(tmp_path / "mine"))


@pytest.mark.parametrize("place", ["image", "cloth/prepared"])
def test_an_output_among_the_photos_is_refused(run: Callable[..., str], photos: Path, place: str):
    before = contents(photos)
    with pytest.raises(
        UsageError, match=rf"^output=.*{place}: results would mix with the files of input=.*; use another"
    ):
        run(output=str(photos / place))
    assert contents(photos) == before


def test_the_output_may_be_in_the_input(run: Callable[..., str], photos: Path):
    run(output=str(photos))
    assert "4 of them by an earlier run" in run(output=str(photos))


def test_the_input_may_be_named_in_another_way(run: Callable[..., str], photos: Path, monkeypatch: pytest.MonkeyPatch):
    run()
    monkeypatch.chdir(photos.parent)
    assert "4 of them by an earlier run" in run(input=os.path.join(".", photos.name))


def test_a_full_disk_ends_the_run_instead_of_failing_each_picture(
    run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    def full(path: Path, image: np.ndarray) -> None:
        raise InputError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr("siftvton.prepare.store.write_image", full)
    error = failures(run)
    assert error.endswith("image/anna.jpg: cannot be written (No space left on device)")


def test_garments_alone_and_photos_alone_can_be_prepared(run: Callable[..., str], photos: Path, tmp_path: Path):
    shutil.rmtree(photos / "cloth")
    assert "2 persons and 0 garments are prepared" in run()
    assert not (tmp_path / "out" / "test_pairs.txt").exists()
    only = tmp_path / "only"
    write_garment(only, "shirt")
    assert "0 persons and 1 garment are prepared" in run(input=str(only), output=str(tmp_path / "out2"))
