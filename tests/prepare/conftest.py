"""A drawn person: joints and parsing of a photo of 1024×768 pixels. The left arm is bent, so the sides differ."""

import cv2
import numpy as np
import pytest

from siftvton.prepare.joints import Joints
from siftvton.prepare.labels import CIHP

SIZE = (1024, 768)
POINTS = {
    "nose": (384.0, 160.0),
    "neck": (384.0, 320.0),
    "right_shoulder": (265.0, 330.0),
    "right_elbow": (235.0, 540.0),
    "right_wrist": (215.0, 740.0),
    "left_shoulder": (504.0, 330.0),
    "left_elbow": (560.0, 520.0),
    "left_wrist": (470.0, 640.0),
    "right_hip": (320.0, 720.0),
    "right_knee": (315.0, 990.0),
    "left_hip": (450.0, 720.0),
    "left_knee": (455.0, 990.0),
}


@pytest.fixture
def joints() -> Joints:
    """Shoulders 239 pixels apart, so that r is 15 pixels; the ankles are below the photo."""
    return Joints(POINTS)


@pytest.fixture
def parsing() -> np.ndarray:
    """(1024, 768) uint8 labels in CIHP's numbers: the hands end 90 pixels beyond the wrists."""
    labels = np.zeros(SIZE, np.uint8)

    def limb(label: str, *names: str) -> None:
        """A limb from joint to joint, and on beyond the last one."""
        places = [np.array(POINTS[name]) for name in names]
        along = places[-1] - places[-2]
        places.append(places[-1] + 90 * along / np.linalg.norm(along))
        cv2.polylines(labels, [np.int32(places)], False, CIHP[label], 50)

    cv2.ellipse(labels, (384, 150), (90, 130), 0, 0, 360, CIHP["hair"], -1)
    cv2.rectangle(labels, (350, 200), (418, 330), CIHP["torso_skin"], -1)
    cv2.ellipse(labels, (384, 160), (60, 72), 0, 0, 360, CIHP["face"], -1)
    cv2.rectangle(labels, (262, 320), (506, 680), CIHP["upper_clothes"], -1)
    cv2.rectangle(labels, (270, 660), (500, 1023), CIHP["trousers"], -1)
    limb("right_arm", "right_shoulder", "right_elbow", "right_wrist")
    limb("left_arm", "left_shoulder", "left_elbow", "left_wrist")
    return labels
