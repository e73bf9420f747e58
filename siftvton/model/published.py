"""Translation between the tensor names of the published checkpoints and ours: one rename table, strict both ways.

The releases of StableVITON and SIFT-VTON are Lightning checkpoints with Stable Diffusion's original names. The
functions here work on plain dictionaries of tensors, one for each part of a pipeline; nothing is loaded from disk.
"""

import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from siftvton.weight_files import shown

PREFIXES = {
    "unet": "model.diffusion_model.",
    "garment_encoder": "control_model.",
    "vae": "first_stage_model.",
    "image_encoder": "cond_stage_model.transformer.",
    "image_context": "",
}

# Tensors of a published checkpoint that no result depends on.
DROPPED = (
    r"(alphas|betas|sqrt|log|posterior|logvar)\w*",  # the noise schedule's buffers
    r"model\.diffusion_model\.explicit_ratio",  # a buffer of the fine-tuned release
    r"lastzc\..*",  # a convolution that is never called
    r"control_model\.input_blocks\.(9|10|11)\..*",  # the deepest level of the garment encoder; nothing reads it
    r"control_model\.middle_block\..*",  # the middle block of the garment encoder; nothing reads it
    r"cond_stage_model\.transformer\.(vision_model\.)?embeddings\.position_ids",  # 0, 1, 2, …
)

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def _replace(rules: Iterable[tuple[str, str | Callable[[re.Match], str]]], name: str) -> str:
    for pattern, replacement in rules:
        name, count = re.subn(pattern, replacement, name)
        if count:
            return name
    raise KeyError(name)


def _renamed(table: Mapping[str, str], rest: str) -> str:
    """``rest`` with its leading module name replaced by the table's."""
    for ours, theirs in table.items():
        if rest.startswith(ours + "."):
            return theirs + rest[len(ours) :]
    return rest


def _encoder_rules(per_level: int) -> list[tuple[str, str | Callable[[re.Match], str]]]:
    """Rename rules for an :class:`~siftvton.model.encoder.Encoder` with ``per_level`` − 1 blocks in each level."""
    return [
        (r"^time_embedding\.linear_1", "time_embed.0"),
        (r"^time_embedding\.linear_2", "time_embed.2"),
        (r"^conv_in", "input_blocks.0.0"),
        (
            r"^down_blocks\.(\d+)\.resnets\.(\d+)\.(.*)",
            lambda m: f"input_blocks.{int(m[1]) * per_level + int(m[2]) + 1}.0.{_renamed(_RESNET, m[3])}",
        ),
        (
            r"^down_blocks\.(\d+)\.attentions\.(\d+)\.(.*)",
            lambda m: f"input_blocks.{int(m[1]) * per_level + int(m[2]) + 1}.1.{m[3]}",
        ),
        (
            r"^down_blocks\.(\d+)\.downsamplers\.0\.conv",
            lambda m: f"input_blocks.{(int(m[1]) + 1) * per_level}.0.op",
        ),
    ]


def unet_name(name: str, blocks_per_level: int) -> str:
    """The published name of one of our U-Net parameters, without the prefix."""
    per_level = blocks_per_level + 1
    if name.startswith("encoder."):
        return _replace(_encoder_rules(per_level), name.removeprefix("encoder."))
    return _replace(
        [
            (r"^mid_block\.resnets\.0\.(.*)", lambda m: f"middle_block.0.{_renamed(_RESNET, m[1])}"),
            (r"^mid_block\.attentions\.0\.", "middle_block.1."),
            (r"^mid_block\.resnets\.1\.(.*)", lambda m: f"middle_block.2.{_renamed(_RESNET, m[1])}"),
            (
                r"^up_blocks\.(\d+)\.resnets\.(\d+)\.(.*)",
                lambda m: f"output_blocks.{int(m[1]) * per_level + int(m[2])}.0.{_renamed(_RESNET, m[3])}",
            ),
            (
                r"^up_blocks\.(\d+)\.attentions\.(\d+)\.(.*)",
                lambda m: f"output_blocks.{int(m[1]) * per_level + int(m[2])}.1.{m[3]}",
            ),
            (  # after the attention, which all levels except the deepest have
                r"^up_blocks\.(\d+)\.upsamplers\.0\.conv",
                lambda m: f"output_blocks.{(int(m[1]) + 1) * per_level - 1}.{1 if m[1] == '0' else 2}.conv",
            ),
            (r"^conv_norm_out", "out.0"),
            (r"^conv_out", "out.2"),
            (r"^garment_attention\.(\d+)\.transformer\.", r"warp_flow_blks.\1."),
            (r"^garment_attention\.(\d+)\.zero_conv\.", r"warp_zero_convs.\1."),
        ],
        name,
    )


def garment_encoder_name(name: str, blocks_per_level: int) -> str:
    """The published name of one of our garment encoder parameters, without the prefix."""
    if name.startswith("garment_conv."):
        return name.replace("garment_conv.", "cond_first_block.0.")
    return _replace(_encoder_rules(blocks_per_level + 1), name.removeprefix("encoder."))


def vae_name(name: str, levels: int) -> str:
    """The published name of a parameter of diffusers' ``AutoencoderKL``, without the prefix."""
    return _replace(
        [
            (r"^((?:post_)?quant_conv)\.", r"\1."),
            (r"^(encoder|decoder)\.(conv_in|conv_out)\.", r"\1.\2."),
            (r"^(encoder|decoder)\.conv_norm_out\.", r"\1.norm_out."),
            (
                r"^(encoder|decoder)\.mid_block\.resnets\.(\d)\.(.*)",
                lambda m: f"{m[1]}.mid.block_{int(m[2]) + 1}.{_renamed({'conv_shortcut': 'nin_shortcut'}, m[3])}",
            ),
            (
                r"^(encoder|decoder)\.mid_block\.attentions\.0\.(.*)",
                lambda m: f"{m[1]}.mid.attn_1.{_renamed(_VAE_ATTENTION, m[2])}",
            ),
            (
                r"^encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.(.*)",
                lambda m: f"encoder.down.{m[1]}.block.{m[2]}.{_renamed({'conv_shortcut': 'nin_shortcut'}, m[3])}",
            ),
            (r"^encoder\.down_blocks\.(\d+)\.downsamplers\.0\.", r"encoder.down.\1.downsample."),
            (  # the original numbers the decoder levels from the finest
                r"^decoder\.up_blocks\.(\d+)\.resnets\.(\d+)\.(.*)",
                lambda m: (
                    f"decoder.up.{levels - 1 - int(m[1])}.block.{m[2]}."
                    f"{_renamed({'conv_shortcut': 'nin_shortcut'}, m[3])}"
                ),
            ),
            (
                r"^decoder\.up_blocks\.(\d+)\.upsamplers\.0\.",
                lambda m: f"decoder.up.{levels - 1 - int(m[1])}.upsample.",
            ),
        ],
        name,
    )


def image_encoder_name(name: str) -> str:
    """The name that transformers 4 gives a CLIP vision parameter; transformers 5 leaves out ``vision_model.``."""
    return "vision_model." + name.removeprefix("vision_model.")


def as_transformers_4(name: str) -> str:
    """A published tensor name as transformers 4 writes it; ``name`` may be in the form of transformers 5."""
    head, prefix, rest = name.partition(PREFIXES["image_encoder"])
    return prefix + image_encoder_name(rest) if prefix and not head else name


def image_context_name(name: str) -> str:
    """The published name of one of our image context parameters; ``value`` is the last third of ``c_qkv``."""
    return _replace(
        [
            (r"^unconditional$", "learnable_vector"),
            (r"^projection\.", "proj_out."),
            (r"^norm\.", "cond_stage_model.final_ln."),
            (r"^blocks\.(\d+)\.norm(\d)\.", r"cond_stage_model.mapper.resblocks.\1.ln_\2."),
            (r"^blocks\.(\d+)\.value\.", r"cond_stage_model.mapper.resblocks.\1.attn.c_qkv."),
            (r"^blocks\.(\d+)\.out\.", r"cond_stage_model.mapper.resblocks.\1.attn.c_proj."),
            (r"^blocks\.(\d+)\.feed_forward\.0\.", r"cond_stage_model.mapper.resblocks.\1.mlp.c_fc."),
            (r"^blocks\.(\d+)\.feed_forward\.2\.", r"cond_stage_model.mapper.resblocks.\1.mlp.c_proj."),
        ],
        name,
    )


def published_name(part: str, name: str, blocks_per_level: int = 2, vae_levels: int = 4) -> str:
    """The published name of parameter ``name`` of a pipeline's ``part`` (a key of :data:`PREFIXES`)."""
    rename = {
        "unet": lambda: unet_name(name, blocks_per_level),
        "garment_encoder": lambda: garment_encoder_name(name, blocks_per_level),
        "vae": lambda: vae_name(name, vae_levels),
        "image_encoder": lambda: image_encoder_name(name),
        "image_context": lambda: image_context_name(name),
    }
    return PREFIXES[part] + rename[part]()


def is_dropped(name: str) -> bool:
    """Whether a published tensor is left out on purpose."""
    return any(re.fullmatch(pattern, name) for pattern in DROPPED)


Shapes = Mapping[str, Mapping[str, torch.Size]]


def from_published(published: Mapping[str, Tensor], shapes: Shapes, **sizes: int) -> dict[str, dict[str, Tensor]]:
    """Rename the tensors of a published checkpoint to our names.

    Args:
        published: name -> tensor.
        shapes: our parameter names and shapes for each requested part, as in a state dict.
        sizes: ``blocks_per_level`` and ``vae_levels``, if they differ from the full model.

    Returns:
        part -> our name -> tensor.

    Raises:
        ValueError: a tensor is missing, has another shape, or is neither used nor dropped on purpose.
    """
    published = {as_transformers_4(name): tensor for name, tensor in published.items()}
    result: dict[str, dict[str, Tensor]] = {part: {} for part in shapes}
    used, missing, wrong = set(), [], []
    for part, expected in shapes.items():
        for name, shape in expected.items():
            theirs = published_name(part, name, **sizes)
            used.add(theirs)
            if theirs not in published:
                missing.append(theirs)
                continue
            tensor = _our_tensor(name, part, published[theirs])
            if part == "vae" and tensor.shape != shape and tensor.numel() == shape.numel():
                tensor = tensor.reshape(shape)  # the original's attention projections are 1×1 convolutions
            if tensor.shape != shape:
                wrong.append(f"{theirs} {list(tensor.shape)}, expected {list(shape)}")
            result[part][name] = tensor
    unexpected = [name for name in published if name not in used and not is_dropped(name)]
    problems = {"missing": missing, "of another shape": wrong, "unexpected": unexpected}
    if any(problems.values()):
        raise ValueError(listed(problems))
    return result


def to_published(
    ours: Mapping[str, Mapping[str, Tensor]], like: Mapping[str, Tensor], **sizes: int
) -> dict[str, Tensor]:
    """Rename our tensors to the names of a published checkpoint.

    Args:
        ours: part -> our name -> tensor.
        like: a published checkpoint, or zeros of the same shapes; it gives the names, the shapes and the tensors
            that are not part of our model.

    Returns:
        The tensors under the names of ``like``, in the same order.

    Raises:
        ValueError: ``like`` has no tensor of a required name.
    """
    result = dict(like)
    names = {as_transformers_4(name): name for name in like}
    for part, tensors in ours.items():
        for name, tensor in tensors.items():
            canonical = published_name(part, name, **sizes)
            if canonical not in names:
                raise ValueError(f"the tensor {canonical} is missing")
            theirs = names[canonical]
            if _is_value(name, part):
                merged = like[theirs].clone()
                merged[-len(tensor) :] = tensor
                result[theirs] = merged
            else:
                result[theirs] = tensor.reshape(like[theirs].shape)
    return result


def _is_value(name: str, part: str) -> bool:
    return part == "image_context" and ".value." in name


def _our_tensor(name: str, part: str, tensor: Tensor) -> Tensor:
    """The part of a published tensor that is ours; a copy, since safetensors loads nothing into a part of a tensor."""
    return tensor[-(len(tensor) // 3) :].clone() if _is_value(name, part) and tensor.dim() else tensor


def listed(problems: Mapping[str, list[str]]) -> str:
    """The problems in one line: each kind with its first three names."""
    return "; ".join(f"{kind}: {_first_three(names)}" for kind, names in problems.items() if names)


def _first_three(names: list[str]) -> str:
    return ", ".join(map(shown, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
