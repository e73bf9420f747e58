"""The models that find persons, joints, clothes and body parts in a photo."""

from siftvton.prepare.models.collection import Models, NoPersonError
from siftvton.prepare.models.files import MissingModelError
from siftvton.prepare.rendering import Box

__all__ = ["Box", "MissingModelError", "Models", "NoPersonError"]
