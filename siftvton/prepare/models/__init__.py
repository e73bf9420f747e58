"""The models that find persons, joints, clothes and body parts in a photo."""

from siftvton.prepare.models.collection import Models, NoPersonError
from siftvton.prepare.models.detector import Box
from siftvton.prepare.models.files import MissingModelError

__all__ = ["Box", "MissingModelError", "Models", "NoPersonError"]
