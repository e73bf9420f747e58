"""A user's folder: its form, its items, their side files, and files that are no items."""

from pathlib import Path

import pytest
from drawn_person import write_garment, write_person

from siftvton.errors import InputError, UsageError
from siftvton.prepare.sources import Sources, id_of, open_sources


def touch(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def ids(sources: Sources) -> tuple[list[str], list[str]]:
    return [item.id for item in sources.persons], [item.id for item in sources.garments]


@pytest.mark.parametrize(
    ("place", "split", "form"), [("", "test", "flat"), ("test", "test", "test"), ("train", "train", "train")]
)
def test_the_form_of_a_folder_is_recognised_or_named(tmp_path: Path, place: str, split: str, form: str):
    touch(tmp_path / place / "image" / "a.jpg")
    touch(tmp_path / place / "cloth" / "b.jpg")
    for layout in ("auto", form):
        sources = open_sources(tmp_path, layout)
        assert (sources.folder, sources.split) == (tmp_path / place, split)
        assert ids(sources) == (["a"], ["b"])


def test_a_folder_of_two_forms_needs_the_key(tmp_path: Path):
    touch(tmp_path / "test" / "image" / "a.jpg")
    touch(tmp_path / "train" / "image" / "b.jpg")
    with pytest.raises(UsageError, match="in several places; choose one by layout=test or layout=train"):
        open_sources(tmp_path)
    assert ids(open_sources(tmp_path, "train")) == (["b"], [])


def test_a_folder_without_photos_and_garments_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no such folder; name a folder with photos in image/ and garments in cloth/"):
        open_sources(tmp_path / "nowhere")
    touch(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="neither a folder image nor a folder cloth; put photos into image"):
        open_sources(tmp_path)
    (tmp_path / "image").mkdir()
    with pytest.raises(InputError, match="image and cloth are empty"):
        open_sources(tmp_path)


def test_side_files_are_found_under_viton_hds_names(tmp_path: Path):
    write_person(tmp_path, "a_00")
    write_garment(tmp_path, "b_00")
    for name in ("image-densepose/a_00.jpg", "agnostic-mask/a_00_mask.png", "person-mask/a_00_person_mask.png"):
        touch(tmp_path / name)
    touch(tmp_path / "cloth-mask" / "b_00.jpg")
    (person,), (garment,) = open_sources(tmp_path).persons, open_sources(tmp_path).garments
    assert {kind: path.name for kind, path in person.sides.items()} == {
        "openpose_json": "a_00_keypoints.json",
        "image-parse-v3": "a_00.png",
        "image-densepose": "a_00.jpg",
        "agnostic-mask": "a_00_mask.png",
        "person-mask": "a_00_person_mask.png",
    }
    assert {kind: path.name for kind, path in garment.sides.items()} == {"cloth-mask": "b_00.jpg"}


def test_older_names_of_folders_are_found_and_the_newer_ones_come_first(tmp_path: Path):
    touch(tmp_path / "image" / "a.jpg")
    touch(tmp_path / "image-parse" / "a.png")
    touch(tmp_path / "openpose-json" / "a.json")
    (person,) = open_sources(tmp_path).persons
    assert [path.parent.name for path in person.sides.values()] == ["openpose-json", "image-parse"]
    touch(tmp_path / "image-parse-v3" / "a.png")
    (person,) = open_sources(tmp_path).persons
    assert person.sides["image-parse-v3"].parent.name == "image-parse-v3"


def test_names_with_spaces_get_names_that_pair_lists_allow(tmp_path: Path):
    touch(tmp_path / "image" / "My photo (2).jpg")
    touch(tmp_path / "image-parse" / "My photo (2).png")
    (person,) = open_sources(tmp_path).persons
    assert person.id == id_of("My photo (2).jpg") == "My_photo_(2)"
    assert list(person.sides) == ["image-parse-v3"]


def test_hidden_files_and_those_of_windows_are_passed_over(tmp_path: Path):
    touch(tmp_path / "image" / "a.jpg")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        touch(tmp_path / "image" / name)
    assert ids(open_sources(tmp_path)) == (["a"], [])


def test_every_other_file_is_an_item_so_that_none_is_passed_over_in_silence(tmp_path: Path):
    touch(tmp_path / "image" / "a.jpg")
    touch(tmp_path / "image" / "notes.txt")
    touch(tmp_path / "image" / "b.HEIC")
    assert ids(open_sources(tmp_path))[0] == ["a", "b", "notes"]


@pytest.mark.parametrize(
    ("files", "at_fault", "message"),
    [
        (["image/a.jpg", "image/A.png"], {"a.jpg", "A.png"}, "has the same name if suffix and case are ignored"),
        (["image/a b.jpg", "image/a_b.jpg"], {"a b.jpg", "a_b.jpg"}, "has the same name"),
        (["image/con.jpg"], {"con.jpg"}, "is the name of a device on Windows; rename the file"),
        (["image/a\u200b.jpg"], {"a\u200b.jpg"}, "has an invisible character"),
        (["image/" + "n" * 250 + ".jpg"], {"n" * 250 + ".jpg"}, "is too long"),
        (["image/a.jpg", "image-parse/a.png", "image-parse/a.jpg"], {"a.jpg"}, "belong to it; keep only one of them"),
    ],
    ids=["case", "space", "device", "invisible", "long", "two sides"],
)
def test_a_name_that_cannot_be_used_is_a_fault_of_its_file_alone(
    tmp_path: Path, files: list[str], at_fault: set[str], message: str
):
    for name in (*files, "image/other.jpg"):
        touch(tmp_path / name)
    sources = open_sources(tmp_path)
    assert ids(sources)[0] == ["other"]
    assert {path.name for path in sources.faults} == at_fault
    assert all(message in reason for reason in sources.faults.values())
