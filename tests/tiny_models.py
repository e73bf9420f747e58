"""Tiny random models of the classes that prepare photos, and a TorchScript program with DensePose's interface."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
    RTDetrResNetConfig,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
    VitPoseImageProcessor,
)

from siftvton.files import sha256
from siftvton.prepare.config import ModelsConfig
from siftvton.prepare.models.parsing import ATR


def save_detector(folder: Path, classes: tuple[str, ...] = ("bicycle", "person"), bias: float = 4.0) -> Path:
    """An RT-DETR whose queries find something everywhere; a negative bias: nothing."""
    torch.manual_seed(0)
    levels = [8, 8, 8]
    network = RTDetrForObjectDetection(
        RTDetrConfig(
            backbone_config=RTDetrResNetConfig(
                embedding_size=8,
                hidden_sizes=[8] * 4,
                depths=[1] * 4,
                layer_type="basic",
                out_features=["stage2", "stage3", "stage4"],
            ),
            encoder_in_channels=levels,
            encoder_hidden_dim=16,
            encoder_ffn_dim=16,
            encoder_attention_heads=2,
            d_model=16,
            num_queries=8,
            num_denoising=0,
            decoder_in_channels=[16] * 3,
            decoder_ffn_dim=16,
            decoder_layers=1,
            decoder_attention_heads=2,
            decoder_n_points=2,
            id2label=dict(enumerate(classes)),
            label2id={name: number for number, name in enumerate(classes)},
        )
    )
    for name, parameter in network.named_parameters():  # the library's own start gives every query the same values
        if parameter.ndim > 1:
            parameter.data.normal_(std=0.3)
        elif name.startswith("model.decoder.class_embed"):
            parameter.data.fill_(bias)
            parameter.data[0] += 1.0  # so that both classes are found
    return _save(folder, network, RTDetrImageProcessor(size={"height": 64, "width": 64}))


def save_pose(folder: Path, joints: int = 17, experts: int = 1) -> Path:
    """A ViTPose that is confident of every joint."""
    torch.manual_seed(0)
    network = VitPoseForPoseEstimation(
        VitPoseConfig(
            backbone_config=VitPoseBackboneConfig(
                image_size=[64, 48],
                patch_size=[16, 16],
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                mlp_ratio=2,
                num_experts=experts,
                part_features=4,
                out_indices=[2],
            ),
            id2label={number: str(number) for number in range(joints)},
            label2id={str(number): number for number in range(joints)},
            use_simple_decoder=True,
        )
    )
    for parameter in network.parameters():  # with the library's own start, the heat maps are flat
        if parameter.ndim > 1:
            parameter.data.normal_(std=0.3)
    network.head.conv.bias.data.fill_(3.0)
    return _save(folder, network, VitPoseImageProcessor(size={"height": 64, "width": 48}))


def save_parsing(folder: Path, labels: tuple[str, ...] = ATR) -> Path:
    torch.manual_seed(0)
    network = SegformerForSemanticSegmentation(
        SegformerConfig(
            hidden_sizes=[8] * 4,
            depths=[1] * 4,
            num_attention_heads=[1] * 4,
            decoder_hidden_size=8,
            # The published model's names begin with a capital letter.
            id2label={number: name.capitalize() for number, name in enumerate(labels)},
            label2id={name.capitalize(): number for number, name in enumerate(labels)},
        )
    )
    return _save(folder, network, SegformerImageProcessor(size={"height": 64, "width": 64}))


def _save(folder: Path, network, processor) -> Path:
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


class DensePose(nn.Module):
    """Finds the bright rectangle of a picture, and reports as part 1, 2 or 3 which channel is the brightest there.

    In the lower half, the part's number is 10 higher. The left third is background in the coarse segmentation only.
    A second box, in the corner of the picture, comes first; it is full of part 24.
    """

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        bright = picture.amax(0) > 200
        rows = torch.nonzero(bright.any(1)).flatten()
        columns = torch.nonzero(bright.any(0)).flatten()
        persons = 2 if len(rows) > 0 else 0
        boxes = torch.zeros(2, 4)
        coarse = torch.zeros(2, 2, 12, 12)
        fine = torch.zeros(2, 25, 12, 12)
        boxes[0] = torch.tensor([0, 0, 8, 8])
        coarse[0, 1] = 1
        fine[0, 24] = 1
        if persons > 0:
            boxes[1] = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
            channel = int(picture[:, bright].float().mean(1).argmax())
            coarse[1, 0, :, :4] = 1
            coarse[1, 1, :, 4:] = 1
            fine[1, 1 + channel, :6] = 1
            fine[1, 11 + channel, 6:] = 1
        surface = torch.zeros(persons, 25, 12, 12)
        return boxes[:persons], coarse[:persons], fine[:persons], surface, surface


class Boxes(nn.Module):
    """Returns only boxes, as a detector would."""

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return torch.zeros(1, 4), torch.zeros(1), torch.zeros(1)


def save_program(path: Path, program: nn.Module | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns that TorchScript is deprecated
        torch.jit.script(program or DensePose()).save(str(path))
    return path


def tiny_models(folder: Path) -> ModelsConfig:
    """Save all of them; return a configuration that names them."""
    program = save_program(folder / "densepose.torchscript")
    return ModelsConfig(
        detector=str(save_detector(folder / "detector")),
        pose=str(save_pose(folder / "pose")),
        parsing=str(save_parsing(folder / "parsing")),
        densepose=str(program),
        densepose_sha256=sha256(program),
    )
