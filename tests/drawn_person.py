"""A drawn person: joints and parsing of a photo of 1024×768 pixels, and files of it. The left arm is bent, so the sides
differ."""

from pathlib import Path

import cv2
import numpy as np

from siftvton.files import write_image, write_json
from siftvton.prepare.joints import Joints, openpose
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
COLOURS = np.random.default_rng(0).integers(60, 200, (len(CIHP), 3)).astype(np.uint8)  # of the parsing's labels
COLOURS[0] = 220


def drawn_joints(scale: float = 1, shift: tuple[float, float] = (0, 0)) -> Joints:
    """Shoulders 239 pixels apart, so that r is 15 pixels; the ankles are below the photo."""
    return Joints(POINTS).moved(lambda places: places * scale + shift)


def drawn_parsing() -> np.ndarray:
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


def drawn_photo(parsing: np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8: the labels in colours."""
    return COLOURS[parsing]


def resized_labels(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def write_person(folder: Path, name: str, scale: float = 0.25) -> None:
    """Write photo, parsing and joints of the person, 256×192 unless told otherwise, under VITON-HD's names."""
    parsing = resized_labels(drawn_parsing(), round(SIZE[0] * scale), round(SIZE[1] * scale))
    write_image(folder / "image" / f"{name}.jpg", drawn_photo(parsing))
    write_image(folder / "image-parse-v3" / f"{name}.png", parsing)
    write_json(folder / "openpose_json" / f"{name}_keypoints.json", openpose(drawn_joints(scale)))


def write_garment(folder: Path, name: str, colour: tuple[int, int, int] = (180, 40, 60)) -> None:
    """Write a flat garment on a light background, 256×192."""
    picture = np.full((256, 192, 3), 246, np.uint8)
    picture[40:220, 50:140] = colour
    write_image(folder / "cloth" / f"{name}.jpg", picture)
