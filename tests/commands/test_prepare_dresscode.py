"""``prepare layout=dresscode`` writes agnostic masks and pictures, which the other commands then read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_dresscode import NUMBERS, write_dresscode

from siftvton.commands.prepare import Prepare, prepare
from siftvton.data.dataset import TryOnDataset
from siftvton.data.layouts import layout_of
from siftvton.errors import InputError, UsageError
from siftvton.files import read_grey, read_image, sha256, write_image, write_text

PERSONS = [(category, name) for category, names in NUMBERS.items() for name in names]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dresscode(tmp_path / "dresscode")


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Callable[..., str]:
    def called(**keys: object) -> str:
        given = {"input": str(data), "output": str(tmp_path / "out"), "layout": "dresscode", "workers": 1, **keys}
        return prepare(Prepare(**given))

    return called


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}


def test_every_listed_person_gets_a_mask_and_a_picture(run: Callable[..., str], data: Path, tmp_path: Path) -> None:
    before, out = contents(data), tmp_path / "out"
    text = run()
    assert contents(data) == before
    made = {f"{category}/{kind}/{name}_0.png" for category, name in PERSONS for kind in ("agnostic_masks", "agnostic")}
    sheets = {f"sheets/{category}-001.jpg" for category in NUMBERS}
    assert set(contents(out)) == made | sheets | {"prepare.yaml"}
    assert text.startswith(f"{out}: 6 masks written (2 of upper_body, 2 of lower_body, 2 of dresses)\n")
    assert "020002_0, 020202_0: the right wrist was not found" in text
    for category, name in PERSONS:
        mask = read_grey(out / category / "agnostic_masks" / f"{name}_0.png")
        photo = read_image(data / category / "images" / f"{name}_0.jpg")
        agnostic = read_image(out / category / "agnostic" / f"{name}_0.png")
        assert (agnostic[mask > 0] == 128).all()
        np.testing.assert_array_equal(agnostic[mask == 0], photo[mask == 0])


def test_a_dataset_of_all_categories_reads_them(run: Callable[..., str], data: Path, tmp_path: Path) -> None:
    run(preview=0)
    split = layout_of("auto", data, agnostic=tmp_path / "out").split("test")
    dataset = TryOnDataset(split, split.pairs("unpaired"), 128, 96)
    dataset.require_files()
    painted = [1 - dataset[place].keep_mask[0] for place in range(3)]
    middles = [(each.sum(dim=1) * range_of(each)).sum() / each.sum() for each in painted]
    assert middles[0] < middles[2] < middles[1]  # upper body, dress, lower body from top to bottom
    assert dataset[1].densepose.max() > 0  # labels are drawn in colours


def range_of(mask):  # type: ignore[no-untyped-def]
    return mask.new_tensor(range(mask.shape[0]))


def test_a_second_run_keeps_what_is_newer_than_its_inputs(run: Callable[..., str], data: Path, tmp_path: Path) -> None:
    run()
    mask = tmp_path / "out" / "dresses" / "agnostic_masks" / "020201_0.png"
    before = mask.stat().st_mtime_ns
    assert "6 masks written, 6 of them by an earlier run" in run()
    assert mask.stat().st_mtime_ns == before
    pose = data / "dresses" / "keypoints" / "020201_2.json"
    pose.write_bytes(pose.read_bytes())
    assert "6 masks written, 5 of them by an earlier run" in run()


def test_a_given_mask_is_used_as_it_is(run: Callable[..., str], data: Path, tmp_path: Path) -> None:
    given = np.zeros((256, 192), np.uint8)
    given[100:150, 80:120] = 255
    write_image(data / "lower_body" / "agnostic_masks" / "020101_0.png", given)
    (data / "lower_body" / "keypoints" / "020101_2.json").unlink()
    assert ", 1 of them taken from the data folder (" in run()
    np.testing.assert_array_equal(read_grey(tmp_path / "out/lower_body/agnostic_masks/020101_0.png"), given)


def test_a_person_that_fails_is_listed_and_the_others_are_made(
    run: Callable[..., str], data: Path, tmp_path: Path
) -> None:
    write_text(data / "dresses" / "keypoints" / "020201_2.json", "{}")
    write_image(data / "lower_body" / "label_maps" / "020101_4.png", np.full((256, 192), 30, np.uint8))
    with pytest.raises(InputError) as raised:
        run()
    first, *lines = str(raised.value).split("\n  ")
    assert first == "2 of 6 masks could not be made:"
    assert lines[0].startswith(f"{data / 'lower_body' / 'label_maps' / '020101_4.png'}: the parsing has label 30")
    assert lines[1].startswith(f"{data / 'dresses' / 'keypoints' / '020201_2.json'}: has no list")
    assert len(list((tmp_path / "out").glob("*/agnostic/*.png"))) == 4
    with pytest.raises(InputError, match="the parsing has label 30"):
        run(strict=True, output=str(tmp_path / "strict"))


def test_the_data_set_itself_is_no_output(run: Callable[..., str], data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds the input itself"):
        run(output=str(data))
    with pytest.raises(InputError, match=r"input=.*: has no folder images in upper_body, lower_body, dresses; name"):
        run(input=str(tmp_path))
    (tmp_path / "out" / "dresses").mkdir(parents=True)
    with pytest.raises(UsageError, match="holds data that this command did not make"):
        run()
