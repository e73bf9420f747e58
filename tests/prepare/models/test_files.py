"""Where models come from: a local path, the hub or its cache; what is recorded; and what a refusal says."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_stand_in import COMMIT, REPOSITORIES, served
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from siftvton.errors import InputError
from siftvton.files import sha256
from siftvton.prepare.config import ModelsConfig
from siftvton.prepare.models import MissingModelError, Models
from siftvton.prepare.models.files import find
from siftvton.prepare.models.pose import load_pose
from siftvton.prepare.models.transformers_model import FILES
from siftvton.prepare.published import DENSEPOSE_SHA256, PUBLISHED, UNKNOWN_LICENCE, licences

CPU = torch.device("cpu")
BOX = (10.0, 20.0, 70.0, 180.0)
REPOSITORY = f"owner/pose@{COMMIT}"
PROGRAM = f"hf://owner/program@{COMMIT}/x.torchscript"


@pytest.fixture
def server(config: ModelsConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub with the tiny pose model and the stand-in for DensePose."""
    assert config.pose is not None
    assert config.densepose is not None
    folder = {path.name: path.read_bytes() for path in Path(config.pose).iterdir()}
    monkeypatch.setitem(REPOSITORIES, "owner/pose", {**folder, "pytorch_model.bin": b"", "run.py": b""})
    monkeypatch.setitem(REPOSITORIES, "owner/program", {"x.torchscript": Path(config.densepose).read_bytes()})
    monkeypatch.chdir(tmp_path)
    with served(tmp_path / "cache", monkeypatch):
        yield


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def use(models: Models, part: str, photo: np.ndarray) -> None:
    calls = {
        "detector": lambda: models.person_boxes(photo),
        "pose": lambda: models.joints(photo, BOX),
        "parsing": lambda: models.parsing(photo),
        "densepose": lambda: models.densepose(photo, BOX),
    }
    calls[part]()


def test_nothing_is_loaded_before_it_is_needed(config: ModelsConfig, photo: np.ndarray, tmp_path: Path):
    models = Models(replace(config, detector="no/where", parsing="no/where", densepose="no/where"), CPU)
    models.joints(photo, BOX)
    models.record(tmp_path)
    assert list(json.loads((tmp_path / "models.json").read_text())) == ["pose"]


def test_a_model_from_the_hub_is_fetched_at_its_revision_and_recorded(
    server, config: ModelsConfig, photo: np.ndarray, tmp_path: Path
):
    assert config.pose is not None
    assert config.densepose is not None
    local = Models(config, CPU).joints(photo, BOX)
    models = Models(replace(config, pose=REPOSITORY), CPU)
    assert models.joints(photo, BOX) == local
    models.record(tmp_path)
    expected = {
        "source": REPOSITORY,
        "revision": COMMIT,
        "licence": UNKNOWN_LICENCE,
        "sha256": {name: sha256(Path(config.pose) / name) for name in FILES},
    }
    assert json.loads((tmp_path / "models.json").read_text()) == {"pose": expected}


def test_the_newest_revision_is_recorded_by_its_commit(server):
    assert find("pose", "owner/pose", FILES).revision == COMMIT


def test_only_json_and_safetensors_are_fetched(server):
    names = {path.name for path in find("pose", REPOSITORY, FILES).folder.iterdir()}
    assert names == set(FILES)


def test_a_fetched_program_is_checked_by_its_digest(server, config: ModelsConfig):
    with pytest.raises(InputError, match=rf"^models\.densepose={PROGRAM}: is a program, and not the known one"):
        use(Models(ModelsConfig(densepose=PROGRAM), CPU), "densepose", np.zeros((64, 48, 3), np.uint8))
    files = find("densepose", PROGRAM)
    assert (files.revision, files.paths[0].name) == (COMMIT, "x.torchscript")


def test_fetched_files_are_found_without_a_connection(server, monkeypatch: pytest.MonkeyPatch):
    fetched = find("pose", REPOSITORY, FILES)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find("pose", REPOSITORY, FILES) == fetched


def test_models_of_an_earlier_start_stay_in_the_record(config: ModelsConfig, photo: np.ndarray, tmp_path: Path):
    for part in ("pose", "parsing"):
        models = Models(config, CPU)
        use(models, part, photo)
        models.record(tmp_path)
    assert list(json.loads((tmp_path / "models.json").read_text())) == ["pose", "parsing"]


def test_a_damaged_record_is_an_error_of_one_line(config: ModelsConfig, tmp_path: Path):
    (tmp_path / "models.json").write_text("[]")
    with pytest.raises(InputError, match=r"models\.json: is not a record of models; delete the file$"):
        Models(config, CPU).record(tmp_path)


@pytest.mark.parametrize("part", PUBLISHED)
def test_without_a_connection_the_message_says_which_files_from_where_to_which_place(
    offline, part: str, photo: np.ndarray, tmp_path: Path
):
    with pytest.raises(MissingModelError) as caught:
        use(Models(ModelsConfig(), CPU), part, photo)
    message = str(caught.value)
    assert message.startswith(
        f"models.{part}={PUBLISHED[part].source}: is not on this machine, and the Hugging Face hub"
    )
    owner, _, rest = PUBLISHED[part].source.removeprefix("hf://").partition("/")
    name, _, rest = rest.partition("@")
    commit, _, file = rest.partition("/")
    page = f"blob/{commit}/{file}" if file else f"tree/{commit}"
    assert f"required: {file or ', '.join(FILES)} from {constants.ENDPOINT}/{owner}/{name}/{page}" in message
    assert f"kept in {tmp_path / 'cache'}; or put a copy into a" in message
    assert message.endswith(f"and use models.{part}={'<file>' if file else '<folder>'}")
    assert "\n" not in message


@pytest.mark.parametrize("part", PUBLISHED)
def test_a_model_that_is_switched_off_says_so(part: str, photo: np.ndarray):
    with pytest.raises(MissingModelError, match=rf"^models\.{part}=null: there is no model that finds "):
        use(Models(replace(ModelsConfig(), **{part: None}), CPU), part, photo)


@pytest.mark.parametrize("part", PUBLISHED)
def test_a_name_that_is_neither_a_path_nor_a_repository_is_an_error(part: str, photo: np.ndarray):
    with pytest.raises(
        MissingModelError, match=rf"^models\.{part}=a/b/c: no such file or folder; .* owner/name@rev|hf:"
    ):
        use(Models(replace(ModelsConfig(), **{part: "a/b/c"}), CPU), part, photo)


def test_a_repository_in_the_place_of_a_file_is_an_error(photo: np.ndarray):
    with pytest.raises(MissingModelError, match=r"give hf://owner/name@revision/file$"):
        find("densepose", "owner/program")
    with pytest.raises(MissingModelError, match=r"give owner/name@revision$"):
        find("pose", "hf://owner/pose/model.safetensors", FILES)


@pytest.fixture
def copy(config: ModelsConfig, tmp_path: Path) -> Path:
    """A copy of the tiny pose model."""
    assert config.pose is not None
    return Path(shutil.copytree(config.pose, tmp_path / "copy"))


@pytest.mark.parametrize("name", FILES)
def test_a_local_folder_must_hold_all_files(copy: Path, name: str):
    (copy / name).unlink()
    with pytest.raises(InputError, match=rf"^models\.pose: .*copy/{name}: no such file$"):
        load_pose(str(copy), CPU)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"{", b"[]", b"x" * 100, b"version https://git-lfs.github.com/spec/v1\n"])
def test_a_damaged_file_is_an_error_of_one_line(copy: Path, name: str, content: bytes):
    (copy / name).write_bytes(content)
    with pytest.raises(InputError, match=r"copy") as caught:
        load_pose(str(copy), CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("config.json", "scale_factor", "x"),
        ("config.json", "backbone_config", 0),
        ("config.json", "id2label", 2.5),
        ("preprocessor_config.json", "size", []),
        ("preprocessor_config.json", "image_mean", {}),
        ("preprocessor_config.json", "rescale_factor", 0),
    ],
)
def test_a_wrong_setting_in_a_model_is_an_error_of_one_line(
    copy: Path, config: ModelsConfig, photo: np.ndarray, name: str, key: str, value: object
):
    settings = json.loads((copy / name).read_text())
    (copy / name).write_text(json.dumps({**settings, key: value}))
    with pytest.raises(InputError, match=r"^models\.pose=.*copy: cannot be (loaded|run) \(.*; download") as caught:
        use(Models(replace(config, pose=str(copy)), CPU), "pose", photo)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("head.conv.bias"), r"has no tensor head\.conv\.bias; copy the folder again"),
        (lambda state: state["head.conv.bias"].fill_(torch.nan), r"head\.conv\.bias holds values that are NaN"),
        (lambda state: state.update({"head.conv.bias": torch.zeros(3)}), r"cannot be loaded \("),
    ],
)
def test_weights_are_loaded_strictly(copy: Path, change, message: str):
    state = load_file(copy / "model.safetensors")
    change(state)
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=message) as caught:
        load_pose(str(copy), CPU)
    assert "\n" not in str(caught.value)


def test_another_kind_of_model_is_named(config: ModelsConfig):
    with pytest.raises(InputError, match=r"config\.json has model_type segformer; a model of vitpose is required$"):
        load_pose(config.parsing, CPU)


def test_a_configuration_cannot_name_a_program(copy: Path, photo: np.ndarray):
    """transformers can fetch code that a configuration names: ``auto_map``, or a kernel as the attention."""
    for name, keys in (
        ("config.json", {"auto_map": {"AutoModel": "run.Model"}, "attn_implementation": "owner/kernel"}),
        ("preprocessor_config.json", {"auto_map": {"AutoImageProcessor": "run.Processor"}}),
    ):
        config = json.loads((copy / name).read_text())
        (copy / name).write_text(json.dumps({**config, **keys}))
    (copy / "run.py").write_text("raise SystemExit('code was run')")
    model = load_pose(str(copy), CPU)
    assert type(model.network).__module__.startswith("transformers.models.vitpose.")
    assert type(model.processor).__module__.startswith("transformers.models.vitpose.")
    assert model.network.config._attn_implementation == "eager"


def test_every_default_names_a_commit_and_the_program_its_digest():
    for field in fields(ModelsConfig):
        if field.name in PUBLISHED:
            assert field.default == PUBLISHED[field.name].source
            assert re.search(r"@[0-9a-f]{40}(/|$)", field.default)
    assert re.fullmatch(r"[0-9a-f]{64}", DENSEPOSE_SHA256)


def test_the_licences_of_all_models_are_in_one_table():
    titles, rule, *rows = licences().splitlines()
    assert titles.startswith("| key |")
    assert set(rule) <= set("| -")
    assert [row.split("|")[1].strip() for row in rows] == [f"models.{part}" for part in PUBLISHED]
    for row, model in zip(rows, PUBLISHED.values(), strict=True):
        assert model.source in row
        assert model.licence in row
