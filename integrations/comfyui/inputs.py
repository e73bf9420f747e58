"""The inputs of the nodes: declared by the keys of the command ``tryon``, and what a user types into them."""

from __future__ import annotations

from typing import Any

from siftvton.commands.tryon import TryOnOne
from siftvton.key_values import expanded, shipped
from siftvton.options import keys, number_kind

Declaration = tuple[Any, dict[str, Any]]  # type and options, as ComfyUI expects them


def key_input(key: str, **options: Any) -> Declaration:
    """Declare an input that has the default, the allowed values and the help text of a key.

    Args:
        key: a key of the command ``tryon``, e.g. ``photo.framing``.
        options: further options of ComfyUI, or other values for those named here.
    """
    entry = keys(TryOnOne)[key]
    rule = entry.metadata
    help_text = rule["help"].replace("null:", "empty:")  # ComfyUI's text fields have no null
    declared = {"default": "" if entry.default is None else entry.default, "tooltip": help_text}
    if rule["choices"]:
        return list(rule["choices"]), declared | options
    kind = number_kind(entry.type)
    if kind is None:
        return "STRING", declared | options
    declared |= {"min": rule["minimum"], "max": rule["maximum"]}
    return "INT" if kind is int else "FLOAT", declared | options


def typed(text: str) -> str | None:
    """Return the text of an input; None: it is empty."""
    return text.strip() or None


def typed_path(text: str, name: str) -> str | None:
    """Return the path or the repository in an input, with ``~`` and environment variables replaced; None: it is empty.

    Raises:
        UsageError: an environment variable or a home folder is not known; the message begins with ``name``.
    """
    path = typed(text)
    return None if path is None else shipped(expanded(path, name))
