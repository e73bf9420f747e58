"""Tiny models, saved once for all tests; and a photo that is not square."""

import numpy as np
import pytest
import torch
from tiny_models import tiny_models

from siftvton.draws import numpy_generator
from siftvton.prepare.config import ModelsConfig
from siftvton.prepare.models import Models


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> ModelsConfig:
    return tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def models(config: ModelsConfig) -> Models:
    return Models(config, torch.device("cpu"))


@pytest.fixture
def photo() -> np.ndarray:
    return numpy_generator("photo").integers(0, 256, (200, 90, 3), dtype=np.uint8)
