"""Sampling a whole pair list: names, restarts, failures, seeds."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from examples import tiny_autoencoder

from siftvton.commands.infer import Infer, infer
from siftvton.data.config import HeldOutData
from siftvton.data.layouts.base import AGNOSTIC, AGNOSTIC_MASK, DENSEPOSE, GARMENT, IMAGE
from siftvton.data.pairs import Pair
from siftvton.draws import numpy_generator, torch_generator
from siftvton.errors import InputError, UsageError
from siftvton.files import read_grey, read_image, write_image
from siftvton.sampling import execution
from siftvton.sampling.config import ExecutionConfig
from siftvton.sampling.loading import load, save
from siftvton.sampling.lora import merge_update, save_update
from siftvton.sampling.pipeline import NotFiniteError
from siftvton.sampling.results import Results
from siftvton.settings import save_configuration

HEIGHT, WIDTH = 64, 48
PAIRS = [("a.jpg", "b.jpg"), ("b.jpg", "c.jpg"), ("c.jpg", "a.jpg")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "test"
    for name, _ in PAIRS:
        draw = numpy_generator(1, name)
        photo, garment = (draw.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(2))
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[16:48, 12:36] = 255
        for kind, picture in (
            (IMAGE, photo),
            (AGNOSTIC, np.where(mask[..., None] > 0, 128, photo).astype(np.uint8)),
            (DENSEPOSE, np.zeros_like(photo)),
            (GARMENT, garment),
        ):
            write_image(folder / kind / name, picture)
        write_image(folder / AGNOSTIC_MASK / f"{Path(name).stem}_mask.png", mask)
    (tmp_path / "data" / "test_pairs.txt").write_text("".join(f"{p} {g}\n" for p, g in PAIRS))
    return tmp_path / "data"


@pytest.fixture
def configuration(root: Path, pipeline, tmp_path: Path):
    save(pipeline, tmp_path / "model")

    def build(output: str = "results", height: int = HEIGHT, **settings) -> Infer:
        given = {"steps": 2, "format": "png", "execution": ExecutionConfig(device="cpu"), **settings}
        return Infer(
            checkpoint=str(tmp_path / "model"),
            data=HeldOutData(root=str(root), height=height, width=WIDTH),
            output=str(tmp_path / output),
            **given,
        )

    return build


def results(config: Infer) -> dict[str, np.ndarray]:
    return {path.name: read_image(path) for path in Path(config.output).glob(f"*.{config.format}")}


def test_names_settings_and_sheet(configuration):
    unpaired, paired = configuration(), configuration("paired", setting="paired")
    infer(unpaired)
    infer(paired)
    assert sorted(results(unpaired)) == ["a_b.png", "b_c.png", "c_a.png"]
    assert sorted(results(paired)) == ["a_a.png", "b_b.png", "c_c.png"]
    sheet = read_image(Path(unpaired.output) / "sheet" / "contact_sheet.png")
    assert sheet.shape[0] > 3 * 256
    assert sheet.shape[1] > 3 * 192


@pytest.mark.parametrize("place", ["data", "data/test/cloth", "data/test/image/results", "model", "model/results"])
def test_an_output_among_the_inputs_is_refused_and_nothing_is_written(configuration, tmp_path: Path, place: str):
    before = sorted(tmp_path.rglob("*"))
    key = "data.root" if place.startswith("data") else "checkpoint"
    with pytest.raises(
        UsageError, match=rf"^output=.*{place}: results would mix with the files of {key}=.*; use another"
    ):
        infer(configuration(place))
    assert sorted(tmp_path.rglob("*")) == before


def test_the_output_may_be_a_folder_of_its_own_in_the_data_folder(configuration):
    assert infer(configuration("data/results", limit=1)).endswith("data/results: 1 picture")


def test_jpeg_has_opencvs_default_quality(configuration):
    infer(configuration("png", limit=1))
    config = configuration("jpg", limit=1, format="jpg")
    infer(config)
    _, encoded = cv2.imencode(".jpg", read_image(Path(configuration("png").output) / "a_b.png")[..., ::-1])
    assert (Path(config.output) / "a_b.jpg").read_bytes() == encoded.tobytes()


def test_a_second_start_makes_only_what_is_missing(configuration):
    config = configuration()
    infer(config)
    output = Path(config.output)
    first = results(config)
    write_image(output / "a_b.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))  # a mark: existing pictures are kept
    (output / "b_c.png").unlink()
    infer(config)
    assert not results(config)["a_b.png"].any()
    assert (
        np.abs(results(config)["b_c.png"].astype(int) - first["b_c.png"]).max() <= 1
    )  # sampled in another batch: equal up to rounding


def test_results_in_another_number_format_are_refused(configuration, monkeypatch: pytest.MonkeyPatch):
    """Guards a folder that was begun on a GPU in bfloat16 and continued on a CPU in float32."""
    config = configuration(limit=1)
    assert config.execution.dtype == "auto"
    infer(config)
    infer(config)
    with monkeypatch.context() as patched:
        patched.setattr(execution, "dtype_of", lambda _config: torch.bfloat16)
        with pytest.raises(UsageError, match=r"another configuration \(execution.dtype: float32 -> bfloat16\)"):
            infer(config)
    saved = Path(config.output) / "infer.yaml"
    saved.write_text(saved.read_text().replace("dtype: float32", "dtype: auto"))  # as an earlier version wrote it
    infer(config)
    assert "dtype: float32" in saved.read_text()


@pytest.mark.parametrize("batch_size", [1, 3])
def test_results_depend_on_the_seed_and_not_on_the_batch(configuration, batch_size: int):
    usual, other = configuration("usual", batch_size=2), configuration("other", batch_size=batch_size)
    assert infer(usual) == f"{usual.output}: 3 pictures"
    infer(other)
    for name, picture in results(usual).items():
        assert np.abs(picture.astype(int) - results(other)[name]).max() <= 1
    reseeded = configuration("reseeded", seed=1)
    infer(reseeded)
    assert not np.array_equal(results(reseeded)["a_b.png"], results(usual)["a_b.png"])


def test_a_pair_that_fails_is_listed_and_the_others_are_made(configuration, root: Path):
    path = root / "test" / IMAGE / "b.jpg"
    path.write_bytes(path.read_bytes()[:200])
    config = configuration(batch_size=3)
    with pytest.raises(InputError, match=r"1 of 3 pairs failed:\n  b_c: .*b\.jpg"):
        infer(config)
    assert sorted(results(config)) == ["a_b.png", "c_a.png"]
    with pytest.raises(InputError, match=r"^\S*b\.jpg: cannot be decoded"):
        infer(configuration("strict", strict=True))


def test_every_kind_of_item_that_cannot_be_read_is_listed(configuration, root: Path):
    folder = root / "test"
    (folder / GARMENT / "b.jpg").unlink()  # of the first pair
    write_image(folder / DENSEPOSE / "b.jpg", np.zeros((HEIGHT // 2, WIDTH, 3), np.uint8))
    mask = folder / AGNOSTIC_MASK / "c_mask.png"
    write_image(mask, 255 - read_grey(mask))
    with pytest.raises(InputError, match=r"3 of 3 pairs failed:\n  a_b: .*no such file.*\n  b_c: .*\n  c_a: .*mask"):
        infer(configuration(batch_size=2))


def test_a_result_that_is_not_finite_is_listed_and_tried_again(configuration, monkeypatch: pytest.MonkeyPatch):
    decode = AutoencoderKL.decode

    def overflowing(self, latents):
        decoded = decode(self, latents)
        decoded.sample[1] = torch.inf
        return decoded

    config = configuration(batch_size=3)
    with monkeypatch.context() as patch:
        patch.setattr(AutoencoderKL, "decode", overflowing)
        with pytest.raises(InputError, match="1 of 3 pairs failed:\n  b_c: the result is NaN or infinite"):
            infer(config)
        assert sorted(results(config)) == ["a_b.png", "c_a.png"]
        with pytest.raises(InputError, match=r"^b_c: the result is NaN or infinite"):
            infer(configuration("strict", batch_size=3, strict=True))
        assert not results(configuration("strict"))
    infer(config)
    assert sorted(results(config)) == ["a_b.png", "b_c.png", "c_a.png"]


def test_an_error_of_results_goes_to_other_processes_as_its_message():
    error = NotFiniteError([0], torch.zeros(1, 3, 2, 2), "a_b")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is InputError
    assert str(copy) == str(error)


def test_a_picture_that_cannot_be_decoded_is_made_again(configuration):
    config = configuration()
    infer(config)
    first, output = results(config), Path(config.output)
    whole = (output / "a_b.png").read_bytes()
    (output / "a_b.png").write_bytes(whole[: len(whole) // 2])
    (output / "b_c.png").write_bytes(b"")
    write_image(output / "c_a.png", np.zeros((8, 6, 3), np.uint8))
    infer(config)
    for name, picture in results(config).items():
        assert np.abs(picture.astype(int) - first[name]).max() <= 1  # sampled in other batches: equal up to rounding


def test_a_pair_that_is_tried_on_twice_is_sampled_once(configuration, root: Path, monkeypatch: pytest.MonkeyPatch):
    """A person who is listed with two garments is one pair in the paired setting."""
    (root / "test_pairs.txt").write_text("a.jpg b.jpg\na.jpg c.jpg\na.jpg b.jpg\nb.jpg a.jpg\n")
    sampled = []

    def generator(*key):
        sampled.append(key[1:])
        return torch_generator(*key)

    monkeypatch.setattr("siftvton.sampling.batch.torch_generator", generator)
    infer(configuration(setting="paired"))
    assert sampled == [("a", "a"), ("b", "b")]
    infer(configuration("unpaired"))
    assert sampled[2:] == [("a", "b"), ("a", "c"), ("b", "a")]


def test_the_sheet_leaves_out_pairs_that_cannot_be_read_any_more(configuration, root: Path):
    config = configuration()
    infer(config)
    sheet = Path(config.output) / "sheet" / "contact_sheet.png"
    rows = read_image(sheet).shape[0]
    (root / "test" / IMAGE / "b.jpg").unlink()
    infer(config)
    assert read_image(sheet).shape[0] == pytest.approx(rows * 2 / 3, abs=10)


def test_processes_divide_the_list_whatever_the_others_have_written(configuration):
    """Guards shares of the pairs that each process found missing: some pairs were left out, others made twice."""
    config = configuration()
    pairs = [Pair(f"{n}.jpg", f"{n}.jpg") for n in range(5)]
    first, second = (SimpleNamespace(process_index=n, num_processes=2) for n in range(2))
    found = Results(Path(config.output), config.format, config.data.size)
    assert found.waiting(pairs, first) == [0, 2, 4]
    for done in (0, 2):
        write_image(Path(config.output) / f"{done}_{done}.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert found.waiting(pairs, second) == [1, 3]
    assert found.waiting(pairs, first) == [4]


def test_results_of_another_configuration_are_refused(configuration):
    infer(configuration(limit=1))
    infer(configuration(limit=2, batch_size=1))  # more pairs with the same results are not another configuration
    with pytest.raises(UsageError, match=r"guidance: 1\.5 -> 3\.0"):
        infer(configuration(guidance=3.0))


def test_a_size_that_is_not_a_multiple_of_the_stride_is_refused(configuration):
    with pytest.raises(UsageError, match=r"data\.height=60 data\.width=48 is not allowed; use multiples of 16"):
        infer(configuration(height=60))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs(configuration, dtype: str):
    config = configuration(execution=ExecutionConfig(device="cpu", dtype=dtype), limit=1)
    infer(config)
    assert results(config)["a_b.png"].std() > 0


def test_the_noise_is_keyed_by_seed_person_and_garment(configuration, monkeypatch: pytest.MonkeyPatch):
    keys = []

    def generator(*key):
        keys.append(key)
        return torch_generator(*key)

    monkeypatch.setattr("siftvton.sampling.batch.torch_generator", generator)
    infer(configuration(seed=7))
    assert keys == [(7, "a", "b"), (7, "b", "c"), (7, "c", "a")]


def test_results_of_other_weights_are_refused(configuration, pipeline, tmp_path: Path):
    """Guards pictures of earlier weights that were kept because they existed, and scored as those of later weights."""
    config = configuration(limit=1)
    infer(config)
    pipeline.unet.conv_out.bias.data += 1
    save(pipeline, tmp_path / "model")
    with pytest.raises(UsageError, match="other weights"):
        infer(config)
    (Path(config.output) / "weights.sha256").write_bytes(b"\xff\x00")
    with pytest.raises(UsageError, match="other weights"):
        infer(config)


def test_steps_and_samplers_that_do_not_fit_are_refused_before_anything_is_sampled(configuration):
    with pytest.raises(UsageError, match="steps=600: PNDMScheduler cannot divide"):
        infer(configuration(steps=600))
    with pytest.raises(UsageError, match="scheduler=DPMSolverSDEScheduler is not allowed"):
        infer(configuration(scheduler="DPMSolverSDEScheduler"))
    assert not Path(configuration().output).exists()


COUNTED = """
import os

from siftvton import cli
from siftvton.sampling import loading

digest = loading.weights_digest


def counted(source):
    with open(os.environ["HASHED"], "a") as file:
        file.write("hashed ")
    return digest(source)


loading.weights_digest = counted
cli.run("infer")
"""


def test_two_processes_share_the_list(configuration, root: Path, tmp_path: Path):
    """Only one hashes the checkpoint, and a failure of the other is listed once.

    Guards processes on a machine without a GPU: each acted as the only one and wrote every picture.
    """
    config = configuration("two", execution=ExecutionConfig())
    save_configuration(config, tmp_path / "two.yaml")
    (tmp_path / "counted.py").write_text(COUNTED)
    path = root / "test" / IMAGE / "b.jpg"
    path.write_bytes(path.read_bytes()[:200])
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launch, tmp_path / "counted.py", "--config", tmp_path / "two.yaml"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HASHED": str(tmp_path / "hashed")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert done.stderr.count("1 of 3 pairs failed:\n  b_c: ") == 1
    assert (tmp_path / "hashed").read_text() == "hashed "
    alone = configuration("alone")
    with pytest.raises(InputError, match="1 of 3 pairs failed"):
        infer(alone)
    assert sorted(results(config)) == sorted(results(alone)) == ["a_b.png", "c_a.png"]
    for name, picture in results(alone).items():
        assert np.abs(picture.astype(int) - results(config)[name]).max() <= 1
    assert "2/2" in done.stderr  # the first process's bar: two of three pictures are its own
    assert "3/3" not in done.stderr


def test_updates_change_the_pictures_as_the_merged_weights_do(configuration, tmp_path: Path):
    layer = "unet.up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_v"
    draw = torch.Generator().manual_seed(0)
    size = load(tmp_path / "model").unet.get_submodule(layer.removeprefix("unet.")).weight.shape
    first, second = (torch.randn(shape, generator=draw) for shape in ((2, size[1]), (size[0], 2)))
    update = tmp_path / "update"
    save_update({f"{layer}.lora_A.weight": first, f"{layer}.lora_B.weight": second}, 2, 4, update)
    merged = load(tmp_path / "model")
    merge_update(merged, update, 0.5)
    save(merged, tmp_path / "merged")
    without = configuration("without")
    added = configuration("added", lora=str(update), lora_weight=0.5)
    expected = configuration("expected")
    expected.checkpoint = str(tmp_path / "merged")
    for config in (without, added, expected):
        infer(config)
    pictures = results(added)
    assert all(np.array_equal(picture, pictures[name]) for name, picture in results(expected).items())
    assert any(not np.array_equal(picture, pictures[name]) for name, picture in results(without).items())
    save_update({f"{layer}.lora_A.weight": first, f"{layer}.lora_B.weight": 2 * second}, 2, 4, update)
    with pytest.raises(UsageError, match="other weights"):
        infer(added)


def test_another_autoencoder_makes_other_pictures_and_other_results(configuration, tmp_path: Path):
    tiny = tiny_autoencoder()
    tiny.save_pretrained(tmp_path / "tiny")
    plain, preview = configuration("plain", limit=1), configuration("preview", limit=1)
    preview.autoencoder = str(tmp_path / "tiny")
    infer(plain)
    infer(preview)
    assert not np.array_equal(results(plain)["a_b.png"], results(preview)["a_b.png"])
    with pytest.raises(UsageError, match=r"autoencoder: .*tiny -> null"):
        infer(configuration("preview", limit=1))
    tiny.decoder.layers[0].bias.data += 1
    tiny.save_pretrained(tmp_path / "tiny")
    with pytest.raises(UsageError, match="other weights"):
        infer(preview)
