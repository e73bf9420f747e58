"""The published models that prepare a photo: where their files come from, and under which licence.

Each source names a commit, so the files cannot change. The commits and the SHA-256 are those that the hub's own pages
show for these repositories.
"""

from dataclasses import dataclass

from siftvton.tables import markdown_table


@dataclass(frozen=True)
class PublishedModel:
    """A model that is fetched unless the configuration names another one.

    Attributes:
        part: its key in the configuration's section ``models``.
        task: what it finds, for messages.
        network: the architecture.
        source: ``owner/name@commit``, a repository on the Hugging Face hub, or ``hf://owner/name@commit/file``.
        licence: the licence of the weights, as their publishers state it.
    """

    part: str
    task: str
    network: str
    source: str
    licence: str


DETECTOR = PublishedModel(
    part="detector",
    task="persons",
    network="RT-DETR R50",
    source="PekingU/rtdetr_r50vd_coco_o365@457857cec8ac28ddede40ecee9eed2beca321af8",
    licence="Apache-2.0",
)
POSE = PublishedModel(
    part="pose",
    task="joints",
    network="ViTPose-B",
    source="usyd-community/vitpose-base-simple@a93ac0c67e0b7e2c55287d21d4c460c8f3c54d45",
    licence="Apache-2.0",
)
PARSING = PublishedModel(
    part="parsing",
    task="clothes and skin",
    network="SegFormer B2",
    source="mattmdjaga/segformer_b2_clothes@584abc1e1d260e23c0fc627c5217a09b2b461046",
    licence="tagged MIT, but trained from NVIDIA's SegFormer weights, whose licence allows research only",
)
DENSEPOSE = PublishedModel(
    part="densepose",
    task="body parts",
    network="DensePose R50-FPN-DL, TorchScript",
    source=(
        "hf://LayerNorm/DensePose-TorchScript-with-hint-image@779f2015fc24435eee3ff8da3e8706d610a6b935/"
        "densepose_r50_fpn_dl.torchscript"
    ),
    licence="tagged Apache-2.0, but exported from DensePose's weights, which are CC BY-SA 3.0",
)
PUBLISHED = {model.part: model for model in (DETECTOR, POSE, PARSING, DENSEPOSE)}

# SHA-256 of the DensePose file. A TorchScript file is a program, so no other file is run unless the user allows it.
DENSEPOSE_SHA256 = "4f7260daa498ce8d4b4679f0692ef2f1f426e39121a907181eab37b8b0585878"

UNKNOWN_LICENCE = "not known here; ask its publisher"


def licence_of(part: str, source: str) -> str:
    """The licence of the weights that a source names; known only for the published sources."""
    published = PUBLISHED[part]
    return published.licence if source == published.source else UNKNOWN_LICENCE


def licences() -> str:
    """A Markdown table of the published models, their sources and their licences."""
    titles = ("key", "finds", "network", "source", "licence")
    rows = [(f"models.{part}", each.task, each.network, each.source, each.licence) for part, each in PUBLISHED.items()]
    return "\n".join(markdown_table(titles, rows, text_columns=len(titles)))
