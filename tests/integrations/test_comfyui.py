"""The ComfyUI nodes, loaded and run as ComfyUI does it. ComfyUI itself is replaced by the few names that they use."""

import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from siftvton.app.tryon import Preparation, TryOn
from siftvton.correspondence.regions import PART_COLOURS
from siftvton.drawing import with_attention
from siftvton.draws import numpy_generator
from siftvton.errors import InputError
from siftvton.files import sha256, write_image
from siftvton.prepare.published import PUBLISHED
from siftvton.sampling.config import ExecutionConfig
from siftvton.sampling.loading import save

FOLDER = Path(__file__).parents[2] / "integrations" / "comfyui"
EXAMPLE = json.loads((FOLDER / "example_workflow.json").read_text(encoding="utf-8"))
NODES = (
    *("SiftvtonLoadNetwork", "SiftvtonLoadModels", "SiftvtonPreparePerson", "SiftvtonPrepareGarment"),
    *("SiftvtonTryOn", "SiftvtonAttention"),
)
HEIGHT, WIDTH = 64, 48
TORSO = 2  # a part of DensePose


class InterruptProcessingException(Exception):
    """ComfyUI's, when a user has pressed Cancel."""


class ProgressBar:
    """ComfyUI's progress bar; it keeps what it was told."""

    shown: list[tuple[int, int]] = []  # noqa: RUF012

    def __init__(self, total: int, node_id: str | None = None) -> None:
        self.total = total

    def update_absolute(self, value: int, total: int | None = None, preview: object = None) -> None:
        self.total = self.total if total is None else total
        self.shown.append((value, self.total))


@pytest.fixture(scope="module")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The package, linked into a folder ``custom_nodes`` and loaded under the name that ComfyUI gives it."""
    state = SimpleNamespace(cancelled=False, progress=ProgressBar.shown)

    def throw_exception_if_processing_interrupted() -> None:
        if state.cancelled:
            raise InterruptProcessingException

    stand_ins = {
        "comfy": {},
        "comfy.utils": {"ProgressBar": ProgressBar},
        "comfy.model_management": {
            "get_torch_device": lambda: torch.device("cpu"),
            "throw_exception_if_processing_interrupted": throw_exception_if_processing_interrupted,
        },
    }
    link = tmp_path_factory.mktemp("custom_nodes") / "comfyui-siftvton"
    link.symlink_to(FOLDER)
    name = str(link).replace(".", "_x_")
    with pytest.MonkeyPatch.context() as patch:
        for module, content in stand_ins.items():
            patch.setitem(sys.modules, module, ModuleType(module))
            vars(sys.modules[module]).update(content)
        spec = importlib.util.spec_from_file_location(name, link / "__init__.py")
        assert spec is not None
        assert spec.loader is not None
        state.package = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, name, state.package)
        spec.loader.exec_module(state.package)
        state.nodes = state.package.NODE_CLASS_MAPPINGS
        yield state
        for module in [each for each in sys.modules if each.startswith(f"{name}.")]:
            del sys.modules[module]


def as_image(picture: np.ndarray) -> Tensor:
    """(height, width, channels) uint8 as ComfyUI's Load Image gives it."""
    return torch.from_numpy(picture.astype(np.float32) / 255.0)[None]


def core_nodes(pictures: dict[str, np.ndarray]) -> dict[str, type]:
    """Stand-ins for ComfyUI's own nodes, which find ``pictures`` in the input folder."""

    class LoadImage:
        FUNCTION, RETURN_TYPES = "load", ("IMAGE", "MASK")

        @classmethod
        def INPUT_TYPES(cls) -> dict:
            return {"required": {"image": (sorted(pictures), {"image_upload": True})}}

        def load(self, image: str) -> tuple[Tensor, Tensor]:
            return as_image(pictures[image]), torch.zeros(1, 64, 64)  # the mask of a file without transparency

    class LoadImageMask(LoadImage):
        RETURN_TYPES = ("MASK",)

        @classmethod
        def INPUT_TYPES(cls) -> dict:
            return {"required": {"image": (sorted(pictures), {}), "channel": (["alpha", "red", "green", "blue"],)}}

        def load(self, image: str, channel: str) -> tuple[Tensor]:
            assert channel == "red"
            return (as_image(pictures[image])[..., 0],)

    class SaveImage:
        FUNCTION, RETURN_TYPES = "save", ()

        @classmethod
        def INPUT_TYPES(cls) -> dict:
            return {"required": {"images": ("IMAGE",), "filename_prefix": ("STRING", {})}}

        def save(self, images: Tensor, filename_prefix: str) -> dict:
            return {"ui": {"images": images}}

    class PreviewImage(SaveImage):
        @classmethod
        def INPUT_TYPES(cls) -> dict:
            return {"required": {"images": ("IMAGE",)}}

        def save(self, images: Tensor) -> dict:
            return {"ui": {"images": images}}

    return {kind.__name__: kind for kind in (LoadImage, LoadImageMask, SaveImage, PreviewImage)}


def declared(node: type) -> dict[str, Any]:
    """All inputs of a node, by name."""
    return {name: entry for group in node.INPUT_TYPES().values() for name, entry in group.items()}


def require_fits(value: Any, entry: tuple) -> None:
    """Check a value that is typed into an input, as ComfyUI does."""
    kind, options = entry[0], entry[1] if len(entry) > 1 else {}
    if isinstance(kind, list):
        assert value in kind
    else:
        assert isinstance(value, {"INT": int, "FLOAT": (int, float), "STRING": str}[kind])
        assert options.get("min", value) <= value <= options.get("max", value)


def require_valid(graph: dict[str, Any], kinds: dict[str, type]) -> None:
    """Check names, types and values of a workflow's inputs, as ComfyUI does before it runs anything."""
    for node in graph.values():
        kind = kinds[node["class_type"]]
        assert kind.INPUT_TYPES()["required"].keys() <= node["inputs"].keys() <= declared(kind).keys()
        for name, value in node["inputs"].items():
            entry = declared(kind)[name]
            if isinstance(value, list):
                assert kinds[graph[value[0]]["class_type"]].RETURN_TYPES[value[1]] == entry[0], (node, name)
            else:
                require_fits(value, entry)


def executed(graph: dict[str, Any], kinds: dict[str, type]) -> dict[str, Any]:
    """Run a workflow as ComfyUI does, in inference mode; return the outputs of every node."""
    outputs: dict[str, Any] = {}

    def output(number: str) -> Any:
        if number not in outputs:
            node = graph[number]
            values = {
                name: output(value[0])[value[1]] if isinstance(value, list) else value
                for name, value in node["inputs"].items()
            }
            kind = kinds[node["class_type"]]
            outputs[number] = getattr(kind(), kind.FUNCTION)(**values)
        return outputs[number]

    with torch.inference_mode():
        return {number: output(number) for number in graph}


@pytest.fixture(scope="module")
def pictures() -> dict[str, np.ndarray]:
    """A photo of 120×160 pixels (height × width) with its DensePose and mask, and a garment."""
    photo = numpy_generator(0, "photo").integers(0, 256, (120, 160, 3), dtype=np.uint8)
    labels, mask = np.zeros((120, 160), np.uint8), np.zeros((120, 160, 3), np.uint8)
    labels[30:90, 60:100], mask[30:90, 60:100] = TORSO, 255
    garment = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    garment[16:48, 12:36] = numpy_generator(0, "garment").integers(0, 200, (32, 24, 3), dtype=np.uint8)
    return {"person.jpg": photo, "densepose.jpg": PART_COLOURS[labels], "mask.png": mask, "garment.jpg": garment}


@pytest.fixture
def files(pictures: dict[str, np.ndarray], tmp_path: Path) -> dict[str, Path]:
    paths = {Path(name).stem: (tmp_path / name).with_suffix(".png") for name in pictures}
    for path, picture in zip(paths.values(), pictures.values(), strict=True):
        write_image(path, picture)
    return paths


@pytest.fixture
def checkpoint(pipeline, tmp_path: Path) -> Path:
    with torch.no_grad():
        for layer in pipeline.unet.garment_attention:  # with random weights, the garment would have no effect
            layer.zero_conv.weight.normal_(generator=torch.Generator().manual_seed(1))
    save(pipeline, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def workflow(checkpoint: Path) -> dict[str, Any]:
    """The example, with a tiny network."""
    graph = json.loads(json.dumps(EXAMPLE))
    graph["5"]["inputs"] |= {"checkpoint": str(checkpoint), "height": HEIGHT, "width": WIDTH}
    graph["9"]["inputs"] |= {"steps": 2, "seed": 3}
    graph["11"]["inputs"] |= {"x": 80, "y": 60}
    return graph


def test_comfyui_finds_each_node_with_a_name_to_show(comfy):
    assert set(comfy.nodes) == set(NODES)
    assert comfy.package.NODE_DISPLAY_NAME_MAPPINGS.keys() == comfy.nodes.keys()


@pytest.mark.parametrize("name", NODES)
def test_every_declared_input_is_a_parameter_and_every_output_has_a_name(comfy, name: str):
    node = comfy.nodes[name]
    parameters = dict(inspect.signature(getattr(node(), node.FUNCTION)).parameters)
    groups = node.INPUT_TYPES()
    assert set(groups) <= {"required", "optional"}
    assert parameters.keys() == declared(node).keys()
    may_be_left_out = {each for each, entry in parameters.items() if entry.default is not inspect.Parameter.empty}
    assert may_be_left_out == set(groups.get("optional", {}))
    assert len(node.RETURN_NAMES) == len(node.RETURN_TYPES)
    assert len(getattr(node, "OUTPUT_TOOLTIPS", node.RETURN_TYPES)) == len(node.RETURN_TYPES)
    for entry in declared(node).values():
        if "default" in entry[1]:
            require_fits(entry[1]["default"], entry)


def test_the_example_workflow_fits_together_and_its_toy_network_exists(comfy, pictures):
    require_valid(EXAMPLE, comfy.nodes | core_nodes(pictures))
    assert (FOLDER.parents[1] / EXAMPLE["5"]["inputs"]["checkpoint"]).is_dir()


def test_the_example_workflow_gives_the_result_of_the_library(comfy, pictures, files, checkpoint, workflow):
    kinds = comfy.nodes | core_nodes(pictures)
    require_valid(workflow, kinds)
    outputs = executed(workflow, kinds)

    tryon = TryOn(checkpoint, HEIGHT, WIDTH, execution=ExecutionConfig(device="cpu"))
    person = tryon.person(files["person"], densepose=files["densepose"], mask=files["mask"])
    garment = tryon.garment(files["garment"])
    expected = tryon(person, garment, seed=3, steps=2, guidance=2.5)
    picture, framed, result = outputs["9"]
    assert picture.shape == (1, 120, 160, 3)
    assert torch.equal(picture, as_image(expected.picture))
    assert torch.equal(framed, as_image(expected.generated))
    assert np.array_equal(result.picture, expected.picture)
    assert torch.equal(outputs["10"]["ui"]["images"], picture)
    assert torch.equal(outputs["7"]["ui"]["images"], as_image(person.prepared.agnostic))
    assert torch.equal(outputs["8"][1], as_image(garment.prepared.picture))

    looked, point = outputs["11"]
    assert torch.equal(looked, as_image(with_attention(garment.prepared.picture, expected.looked_at(80, 60))))
    marked = (point != picture).any(dim=-1)[0].nonzero().float()
    assert marked.mean(dim=0).tolist() == pytest.approx([60, 80], abs=1)


def test_progress_is_shown_and_cancel_ends_the_sampling(comfy, pictures, workflow):
    kinds = comfy.nodes | core_nodes(pictures)
    comfy.progress.clear()
    outputs = executed(workflow, kinds)
    assert comfy.progress == [(1, 3), (2, 3), (3, 3)]  # PLMS predicts the noise one more time
    comfy.progress.clear()
    comfy.cancelled = True
    try:
        with pytest.raises(InterruptProcessingException):
            comfy.nodes["SiftvtonTryOn"]().run(*outputs["5"], outputs["6"][0], outputs["8"][0], 0, 2, 1.5)
    finally:
        comfy.cancelled = False
    assert comfy.progress == []


@pytest.mark.parametrize("framing", ["crop", "pad"])
def test_the_mask_of_a_person_can_be_given_again(comfy, pictures, framing: str):
    prepare = comfy.nodes["SiftvtonPreparePerson"]().prepare
    photo, densepose = as_image(pictures["person.jpg"]), as_image(pictures["densepose.jpg"])
    given = as_image(pictures["mask.png"])[..., 0]
    first, _, mask, _ = prepare(photo, framing, mask=given, densepose=densepose)
    assert torch.equal(mask, given)
    second, *_ = prepare(photo, framing, mask=mask[0], densepose=densepose)  # some nodes leave the batch out
    assert np.array_equal(first.prepared.mask, second.prepared.mask)


def drawn_person(folder: Path) -> tuple[np.ndarray, dict[str, Path]]:
    """A photo of 256×192 pixels, also written to ``person.png``, and the files of its joints and labels."""
    joints = {
        0: (96, 40), 1: (96, 64), 2: (70, 66), 3: (60, 108), 4: (56, 150),
        5: (122, 66), 6: (132, 108), 7: (136, 150), 9: (82, 150), 12: (110, 150),
    }  # fmt: skip
    flat = [float(value) for number in range(25) for value in (*joints.get(number, (0, 0)), 1.0)]
    paths = {"pose": folder / "pose.json", "parsing": folder / "parsing.png"}
    paths["pose"].write_text(json.dumps({"people": [{"pose_keypoints_2d": flat}]}))
    labels = np.zeros((256, 192), np.uint8)
    labels[20:56, 84:108], labels[60:160, 64:128] = 13, 5  # CIHP's face and upper clothes
    write_image(paths["parsing"], labels)
    photo = numpy_generator(0, "photo").integers(0, 256, (256, 192, 3), dtype=np.uint8)
    write_image(folder / "person.png", photo)
    return photo, paths


def test_a_pose_and_a_parsing_file_draw_the_mask(comfy, tmp_path: Path):
    photo, paths = drawn_person(tmp_path)
    node = comfy.nodes["SiftvtonPreparePerson"]
    typed = {name: f" {path}" for name, path in paths.items()}
    person, _, mask, remarks = node().prepare(as_image(photo), "crop", **typed)
    expected = Preparation().person(tmp_path / "person.png", **paths)
    assert np.array_equal(person.prepared.mask, expected.prepared.mask)
    assert np.array_equal(person.prepared.parsing, expected.prepared.parsing)
    assert np.array_equal(mask[0].numpy() * 255, expected.prepared.mask)
    assert remarks == "\n".join(expected.prepared.remarks)

    unchanged = node.IS_CHANGED(photo=None, framing="crop", **typed)
    write_image(paths["parsing"], np.zeros((256, 192), np.uint8))
    assert node.IS_CHANGED(photo=None, framing="crop", **typed) != unchanged
    assert node.IS_CHANGED(photo=None, framing="crop") == node.IS_CHANGED(photo=None, framing="pad")


def test_a_garment_with_opacity_is_put_on_white(comfy, tmp_path: Path):
    cut_out = np.zeros((HEIGHT, WIDTH, 4), np.uint8)  # black where it is transparent
    cut_out[16:48, 12:36] = (200, 30, 30, 255)
    Image.fromarray(cut_out).save(tmp_path / "garment.png")
    garment, picture, _ = comfy.nodes["SiftvtonPrepareGarment"]().prepare(as_image(cut_out))
    expected = Preparation().garment(tmp_path / "garment.png")
    assert torch.equal(picture, as_image(expected.prepared.picture))
    assert np.array_equal(garment.prepared.mask, expected.prepared.mask)
    assert picture[0, 0, 0].tolist() == [1, 1, 1]


def test_the_mask_of_a_garment_says_where_it_is(comfy, pictures):
    prepare = comfy.nodes["SiftvtonPrepareGarment"]().prepare
    dark = np.where(pictures["garment.jpg"] == 255, np.uint8(20), pictures["garment.jpg"])
    with pytest.raises(InputError, match=r"^picture: has a dark or coloured background"):
        prepare(as_image(dark))
    area = torch.zeros(1, HEIGHT, WIDTH)
    area[:, 16:48, 12:36] = 1
    garment, *_ = prepare(as_image(dark), area)
    assert np.array_equal(garment.prepared.mask[0] / 255, area[0, 0])


def sentence(call, *args, **kwargs) -> str:
    """The message of the InputError that a call raises."""
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    return str(caught.value)


def test_a_picture_or_mask_of_the_wrong_form_is_refused_in_one_sentence(comfy, pictures):
    prepare = comfy.nodes["SiftvtonPreparePerson"]().prepare
    photo, mask = as_image(pictures["person.jpg"]), as_image(pictures["mask.png"])[..., 0]
    assert sentence(prepare, photo.repeat(3, 1, 1, 1), "crop").startswith("photo: is a batch of 3 pictures; give one")
    assert sentence(prepare, photo[..., :1], "crop") == "photo: has 1 channels; give a picture in colour"
    assert "photo: holds values that are NaN" in sentence(prepare, photo.log(), "crop")
    assert "mask: masks nothing" in sentence(prepare, photo, "crop", mask=torch.zeros(1, 64, 64))
    assert "mask: is white along most of its border" in sentence(prepare, photo, "crop", mask=1 - mask)
    assert "mask: has different proportions from its photo" in sentence(prepare, photo, "crop", mask=mask[:, 20:])
    viridis = as_image(255 - pictures["densepose.jpg"])
    assert "is not in DensePose's colours" in sentence(prepare, photo, "crop", mask=mask, densepose=viridis)


NO_MODELS = {"detector": "", "pose": "", "parsing": "", "densepose": "", "densepose_sha256": "", "device": ""}


def test_what_is_missing_is_said_with_the_reason_in_one_sentence(comfy, pictures):
    (models,) = comfy.nodes["SiftvtonLoadModels"]().load(**NO_MODELS)
    said = sentence(
        comfy.nodes["SiftvtonPreparePerson"]().prepare, as_image(pictures["person.jpg"]), "crop", models=models
    )
    assert said.startswith("photo: its joints are not known; give ")
    assert "; models.pose=null: there is no model that finds joints" in said
    assert "\n" not in said


def test_a_person_without_densepose_can_be_looked_at_but_not_dressed(comfy, pictures, workflow):
    photo, mask = as_image(pictures["person.jpg"]), as_image(pictures["mask.png"])[..., 0]
    person, agnostic, *_ = comfy.nodes["SiftvtonPreparePerson"]().prepare(photo, "crop", mask=mask)
    assert agnostic.shape == (1, 214, 160, 3)  # nothing tells where the person is, so the whole photo is framed
    (network,) = executed({"5": workflow["5"]}, comfy.nodes)["5"]
    garment, *_ = comfy.nodes["SiftvtonPrepareGarment"]().prepare(as_image(pictures["garment.jpg"]))
    run = comfy.nodes["SiftvtonTryOn"]().run
    assert "its DensePose is not known" in sentence(run, network, person, garment, 0, 2, 1.5)


@pytest.mark.parametrize("part", ["detector", "pose", "parsing", "densepose"])
def test_each_model_comes_from_its_own_input(comfy, tmp_path: Path, part: str):
    (models,) = comfy.nodes["SiftvtonLoadModels"]().load(**NO_MODELS | {part: "/no/such/file"})
    photo, paths = drawn_person(tmp_path)
    given = {"pose": str(paths["pose"])} if part in ("parsing", "densepose") else {}
    try:
        said = comfy.nodes["SiftvtonPreparePerson"]().prepare(as_image(photo), "crop", models=models, **given)[-1]
    except InputError as error:
        said = str(error)
    assert f"models.{part}=/no/such/file: no such file" in said


def test_a_densepose_file_is_run_only_if_its_digest_is_given(comfy, pictures, tmp_path: Path):
    file = tmp_path / "any.torchscript"
    file.write_bytes(b"no program")
    photo, mask = as_image(pictures["person.jpg"]), as_image(pictures["mask.png"])[..., 0]
    said = []
    for digest in ("", sha256(file)):
        sources = NO_MODELS | {"densepose": str(file), "densepose_sha256": digest}
        (models,) = comfy.nodes["SiftvtonLoadModels"]().load(**sources)
        said.append(comfy.nodes["SiftvtonPreparePerson"]().prepare(photo, "crop", mask=mask, models=models)[-1])
    assert f"models.densepose_sha256={sha256(file)}" in said[0]
    assert "cannot be" in said[1]
    assert "sha256" not in said[1]


def test_a_network_or_a_device_that_does_not_exist_is_refused_in_one_sentence(comfy):
    load = comfy.nodes["SiftvtonLoadNetwork"]().load
    assert sentence(load, " ", 64, 48, "float32", "").startswith("checkpoint: is empty; give a folder")
    assert "/no/such/model" in sentence(load, "/no/such/model", 64, 48, "float32", "")
    assert "device=cuda:99 is not available" in sentence(load, "checkpoints/toy", 128, 96, "float32", "cuda:99")
    assert "\n" not in sentence(load, str(FOLDER), 64, 48, "float32", "")


def test_a_point_that_the_network_does_not_see_is_refused(comfy, pictures, workflow):
    outputs = executed(workflow, comfy.nodes | core_nodes(pictures))
    look = comfy.nodes["SiftvtonAttention"]().look
    assert "the point (2, 60) is outside" in sentence(look, outputs["9"][2], 2, 60)


def test_the_readme_names_every_node_and_every_input(comfy):
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = {found[1]: found[2] for found in re.finditer(r"^\| ([^|`]+) \| (.+) \|$", page, re.MULTILINE)}
    for name, shown in comfy.package.NODE_DISPLAY_NAME_MAPPINGS.items():
        named = set(re.findall(r"`(\w+)`", rows[shown]))
        assert declared(comfy.nodes[name]).keys() | set(comfy.nodes[name].RETURN_NAMES) == named
    for model in PUBLISHED.values():
        assert f"| `{model.part}` | {model.network} | {model.licence} |" in page
