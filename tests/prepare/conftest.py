import numpy as np
import pytest
from drawn_person import drawn_joints, drawn_parsing

from siftvton.prepare.joints import Joints


@pytest.fixture
def joints() -> Joints:
    return drawn_joints()


@pytest.fixture
def parsing() -> np.ndarray:
    return drawn_parsing()
