"""Try-on of one photo, in Python and by command."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from examples import tiny_autoencoder

from siftvton.app.tryon import Garment, Person, TryOn
from siftvton.commands.app import App, app
from siftvton.commands.convert_checkpoint import ConvertCheckpoint, convert_checkpoint
from siftvton.commands.infer import Infer, infer
from siftvton.commands.tryon import TryOnOne, tryon
from siftvton.correspondence import Correspondences
from siftvton.correspondence.regions import PART_COLOURS
from siftvton.data.config import HeldOutData, PictureSize
from siftvton.data.layouts.base import AGNOSTIC, AGNOSTIC_MASK, DENSEPOSE, GARMENT, IMAGE
from siftvton.draws import numpy_generator
from siftvton.errors import InputError, UsageError
from siftvton.evaluation.attention_maps import mean_maps
from siftvton.files import read_image, write_image
from siftvton.prepare.config import ModelsConfig
from siftvton.sampling.config import ExecutionConfig, SamplingConfig
from siftvton.sampling.loading import load, save
from siftvton.sampling.lora import save_update

HEIGHT, WIDTH = 64, 48
TORSO = 2  # a part of DensePose
NO_MODELS = ModelsConfig(detector=None, pose=None, parsing=None, densepose=None)
ON_CPU = ExecutionConfig(device="cpu")


def write_sides(folder: Path, size: tuple[int, int], box: tuple[int, int, int, int]) -> dict[str, Path]:
    """A photo, DensePose and mask, with the torso in ``box`` (left, top, right, bottom), and a garment picture."""
    height, width = size
    left, top, right, bottom = box
    photo = numpy_generator(0, "photo").integers(0, 256, (height, width, 3), dtype=np.uint8)
    labels, mask = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    labels[top:bottom, left:right], mask[top:bottom, left:right] = TORSO, 255
    garment = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    garment[16:48, 12:36] = numpy_generator(0, "garment").integers(0, 200, (32, 24, 3), dtype=np.uint8)
    pictures = {"person": photo, "densepose": PART_COLOURS[labels], "mask": mask, "garment": garment}
    paths = {name: folder / f"{name}.png" for name in pictures}
    for name, picture in pictures.items():
        write_image(paths[name], picture)
    return paths


@pytest.fixture
def checkpoint(pipeline, tmp_path: Path) -> Path:
    # From random weights, the hooked layers add nothing; here, the garment has an effect.
    with torch.no_grad():
        for layer in pipeline.unet.garment_attention:
            layer.zero_conv.weight.normal_(generator=torch.Generator().manual_seed(1))
    save(pipeline, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def dresser(checkpoint: Path) -> TryOn:
    return TryOn(checkpoint, HEIGHT, WIDTH, sampling=SamplingConfig(steps=2), execution=ON_CPU)


@pytest.fixture
def square(tmp_path: Path, dresser: TryOn) -> tuple[Person, Garment]:
    """A photo of 120×160 pixels (height × width); the network sees 90 of its 160 columns."""
    paths = write_sides(tmp_path / "square", (120, 160), (60, 30, 100, 90))
    person = dresser.person(paths["person"], densepose=paths["densepose"], mask=paths["mask"])
    return person, dresser.garment(paths["garment"])


def test_a_photo_of_the_networks_size_gets_the_result_of_infer(tmp_path: Path, checkpoint: Path, dresser: TryOn):
    paths = write_sides(tmp_path, (HEIGHT, WIDTH), (12, 16, 36, 48))
    folder = tmp_path / "data" / "test"
    photo, mask = read_image(paths["person"]), cv2.imread(str(paths["mask"]), cv2.IMREAD_GRAYSCALE)
    agnostic = np.where(mask[..., None] > 0, 128, photo).astype(np.uint8)
    densepose = read_image(paths["densepose"])
    for kind, picture in ((IMAGE, photo), (AGNOSTIC, agnostic), (DENSEPOSE, densepose)):
        write_image(folder / kind / "person.png", picture)
    write_image(folder / GARMENT / "garment.png", read_image(paths["garment"]))
    write_image(folder / AGNOSTIC_MASK / "person_mask.png", mask)
    (tmp_path / "data" / "test_pairs.txt").write_text("person.png garment.png\n")
    data = HeldOutData(root=str(tmp_path / "data"), height=HEIGHT, width=WIDTH)
    infer(
        Infer(
            checkpoint=str(checkpoint), data=data, steps=2, seed=3, format="png", output=str(tmp_path / "results"),
            execution=ON_CPU,
        )
    )  # fmt: skip
    person = dresser.person(paths["person"], densepose=paths["densepose"], mask=paths["mask"])
    result = dresser(person, dresser.garment(paths["garment"]), seed=3)
    expected = read_image(tmp_path / "results" / "person_garment.png")
    assert np.array_equal(result.generated, expected)
    assert np.array_equal(result.picture, expected)


def test_the_result_has_the_photos_size_and_changes_nothing_outside_the_mask(dresser: TryOn, square):
    person, garment = square
    result = dresser(person, garment)
    assert result.picture.shape == (120, 160, 3)
    assert result.generated.shape == (HEIGHT, WIDTH, 3)
    changed = (result.picture != person.photo).any(axis=2)
    rows, columns = np.nonzero(changed)
    # The mask's soft edge at the network's size is up to two of its cells wide.
    assert 30 - 4 <= rows.min() <= rows.max() < 90 + 4
    assert 60 - 4 <= columns.min() <= columns.max() < 100 + 4
    assert changed[36:84, 66:94].mean() > 0.95


def test_seeds_and_garments_change_the_result_and_the_same_seed_repeats_it(dresser: TryOn, square):
    person, garment = square
    first = dresser(person, garment, seed=1).picture
    assert np.array_equal(dresser(person, garment, seed=1).picture, first)
    assert not np.array_equal(dresser(person, garment, seed=2).picture, first)
    mirrored = Garment(garment.name, type(garment.prepared)(garment.prepared.picture[::-1], garment.prepared.mask, ()))
    assert not np.array_equal(dresser(person, mirrored, seed=1).picture, first)


def test_another_mask_paints_elsewhere(dresser: TryOn, square):
    person, garment = square
    mask = np.zeros_like(person.prepared.mask)
    mask[:20] = 255
    picture = dresser(person.with_mask(mask), garment).picture
    assert (picture[:12] != person.photo[:12]).any()
    assert np.array_equal(picture[28:], person.photo[28:])


def test_progress_is_reported_after_each_step_and_can_end_the_sampling(dresser: TryOn, square):
    person, garment = square
    heard: list[tuple[int, int]] = []
    dresser(person, garment, steps=3, progress=lambda *step: heard.append(step))
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]  # PLMS predicts the noise one more time

    def give_up(done: int, _steps: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dresser(person, garment, steps=3, progress=give_up)


def test_a_point_of_the_result_is_mapped_to_the_network_and_back_to_the_garment(dresser: TryOn, square, monkeypatch):
    person, garment = square
    result = dresser(person, garment)
    asked = []

    def attention(_result, points):
        asked.append(points)
        maps = np.zeros((1, HEIGHT, WIDTH))
        maps[0, 40, 30] = 1
        return maps

    monkeypatch.setattr(dresser, "attention", attention)
    seen = result.looked_at(79.5, 59.5)  # the middle of the photo, and of the part that the network sees
    assert asked[0].person[0] == pytest.approx([WIDTH / 2 - 0.5, HEIGHT / 2 - 0.5])
    assert seen.shape == garment.prepared.picture.shape[:2]
    assert np.unravel_index(seen.argmax(), seen.shape) == (40, 30)
    assert seen.sum() == pytest.approx(1)
    for outside in ((2, 60), (158, 60)):
        with pytest.raises(InputError, match="is outside the part of the photo that the network sees"):
            result.looked_at(*outside)


def test_the_attention_of_a_result_is_a_distribution_over_the_garment(dresser: TryOn, square):
    result = dresser(*square)
    seen = result.looked_at(80, 60)
    assert seen.min() >= 0
    assert seen.sum() == pytest.approx(1)
    assert not np.allclose(seen, result.looked_at(70, 40))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_attention_in_half_precision_is_that_in_float32(dresser: TryOn, checkpoint: Path, square, dtype: str):
    """Guards the page on a GPU, where the network is in bfloat16: every question for the attention failed."""
    half = TryOn(checkpoint, height=HEIGHT, width=WIDTH, execution=ExecutionConfig(device="cpu", dtype=dtype))
    batch = half._batch(*square)
    points = Correspondences(np.array([[20.0, 30.0]]), np.array([[20.0, 30.0]]), (HEIGHT, WIDTH))
    layers = half.pipeline.network().hooked_layers("all")
    found, expected = (
        mean_maps(each.pipeline, batch, points, layers, timesteps=[100, 400], seed=0) for each in (half, dresser)
    )
    assert found.sum() == pytest.approx(1)
    assert np.abs(found - expected).sum() < 0.05


def configuration(paths: dict[str, Path], checkpoint: Path, output: Path, **more) -> TryOnOne:
    given = {name: str(path) for name, path in paths.items()}
    return TryOnOne(
        checkpoint=str(checkpoint), data=PictureSize(HEIGHT, WIDTH), models=NO_MODELS, execution=ON_CPU, steps=2,
        output=str(output), **{**given, **more},
    )  # fmt: skip


def test_the_command_writes_one_picture_in_the_photos_size(tmp_path: Path, checkpoint: Path):
    paths = write_sides(tmp_path / "in", (120, 160), (60, 30, 100, 90))
    said = tryon(configuration(paths, checkpoint, tmp_path / "out"))
    assert said.splitlines()[0] == str(tmp_path / "out" / "person_garment.png")
    assert read_image(tmp_path / "out" / "person_garment.png").shape == (120, 160, 3)
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"sheet.png", "tryon.yaml"}


def test_several_results_have_their_seeds_in_their_names(tmp_path: Path, checkpoint: Path):
    paths = write_sides(tmp_path / "in", (HEIGHT, WIDTH), (12, 16, 36, 48))
    tryon(configuration(paths, checkpoint, tmp_path / "out", results=2, seed=5))
    first, second = (read_image(tmp_path / "out" / f"person_garment_{seed}.png") for seed in (5, 6))
    assert not np.array_equal(first, second)
    assert (tmp_path / "out" / "results.png").is_file()


@pytest.fixture
def changes(checkpoint: Path, tmp_path: Path) -> dict:
    """Keys that name a tiny autoencoder and the updates of one layer."""
    layer = "unet.up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_v"
    outputs, inputs = load(checkpoint).unet.get_submodule(layer.removeprefix("unet.")).weight.shape
    draw = torch.Generator().manual_seed(0)
    first, second = (torch.randn(shape, generator=draw) for shape in ((2, inputs), (outputs, 2)))
    save_update({f"{layer}.lora_A.weight": first, f"{layer}.lora_B.weight": second}, 2, 4, tmp_path / "update")
    tiny_autoencoder().save_pretrained(tmp_path / "tiny")
    return {"autoencoder": str(tmp_path / "tiny"), "lora": str(tmp_path / "update"), "lora_weight": 0.5}


def test_an_autoencoder_and_updates_give_the_pictures_of_the_converted_weights(
    tmp_path: Path, checkpoint: Path, changes: dict, capsys: pytest.CaptureFixture
):
    paths = write_sides(tmp_path / "in", (HEIGHT, WIDTH), (12, 16, 36, 48))
    merged = tmp_path / "merged"
    convert_checkpoint(ConvertCheckpoint(input=str(checkpoint), output=str(merged), **changes))
    tryon(configuration(paths, merged, tmp_path / "expected"))
    capsys.readouterr()
    tryon(configuration(paths, checkpoint, tmp_path / "changed", **changes))
    assert f"note: autoencoder={tmp_path / 'tiny'} is used in place of the autoencoder of" in capsys.readouterr().out
    pictures = {name: read_image(tmp_path / name / "person_garment.png") for name in ("expected", "changed")}
    assert np.array_equal(pictures["expected"], pictures["changed"])
    for key in ("autoencoder", "lora"):
        tryon(configuration(paths, checkpoint, tmp_path / key, **{**changes, key: None}))
        assert not np.array_equal(read_image(tmp_path / key / "person_garment.png"), pictures["changed"])


def test_the_page_uses_the_autoencoder_and_the_updates_and_records_them(
    tmp_path: Path, checkpoint: Path, changes: dict, monkeypatch: pytest.MonkeyPatch
):
    served = []
    monkeypatch.setattr("siftvton.app.page.page_of", lambda actions, about: actions)
    monkeypatch.setattr("siftvton.app.server.serve", lambda actions, *_: served.append(actions))
    data = PictureSize(HEIGHT, WIDTH)
    app(App(checkpoint=str(checkpoint), data=data, execution=ON_CPU, output=str(tmp_path / "out"), **changes))
    actions = served[0]
    pipeline, merged = actions.tryon.pipeline, tmp_path / "merged"
    convert_checkpoint(ConvertCheckpoint(input=str(checkpoint), output=str(merged), **changes))
    assert isinstance(pipeline.vae, AutoencoderTiny)
    expected = load(merged).unet.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in pipeline.unet.state_dict().items())
    assert actions.weights.items() >= changes.items()
    assert len({actions.weights[f"{kind}_sha256"] for kind in ("weights", "autoencoder", "lora")}) == 3


def test_a_preview_prepares_and_needs_no_network(tmp_path: Path):
    paths = write_sides(tmp_path / "in", (HEIGHT, WIDTH), (12, 16, 36, 48))
    tryon(configuration(paths, tmp_path / "no-such-model", tmp_path / "out", preview=True))
    assert (tmp_path / "out" / "sheet.png").is_file()
    assert not (tmp_path / "out" / "person_garment.png").exists()


def test_an_output_folder_that_holds_an_input_is_refused(tmp_path: Path):
    paths = write_sides(tmp_path / "in", (HEIGHT, WIDTH), (12, 16, 36, 48))
    before = {path: path.read_bytes() for path in paths.values()}
    with pytest.raises(UsageError, match=r"holds person=.*person\.png, which a result could replace"):
        tryon(configuration(paths, tmp_path / "no-such-model", tmp_path / "in"))
    assert {path: path.read_bytes() for path in paths.values()} == before


def test_what_is_missing_is_said_before_the_network_is_loaded(tmp_path: Path):
    paths = write_sides(tmp_path / "in", (HEIGHT, WIDTH), (12, 16, 36, 48))
    (tmp_path / "model").mkdir()  # loading it would fail
    build = (paths, tmp_path / "model", tmp_path / "out")
    with pytest.raises(UsageError, match="person and garment are required"):
        tryon(configuration(*build, person=None))
    with pytest.raises(InputError, match=r"person\.png: its joints are not known"):
        tryon(configuration(*build, mask=None))
    with pytest.raises(InputError, match="person: its DensePose is not known, and the network requires it"):
        tryon(configuration(*build, densepose=None))


def test_missing_weights_are_reported_before_the_preparation(tmp_path: Path):
    paths = write_sides(tmp_path / "in", (HEIGHT, WIDTH), (12, 16, 36, 48))
    with pytest.raises(InputError, match="no-such-model: no such"):
        tryon(configuration(paths, tmp_path / "no-such-model", tmp_path / "out"))
    (tmp_path / "model").mkdir()
    for key in ("autoencoder", "lora"):
        with pytest.raises(InputError, match=f"^{key}=nowhere: "):
            tryon(configuration(paths, tmp_path / "model", tmp_path / "out", **{key: "nowhere"}))
    assert not (tmp_path / "out").exists()
