"""A drawn data set in DressCode's layout: two persons of each category, from the golden files' labels and joints."""

import shutil
from pathlib import Path

import cv2
import numpy as np

from siftvton.files import read_labels, write_image, write_text

GOLDEN = Path(__file__).parent / "golden" / "dresscode"
NUMBERS = {"upper_body": ("020001", "020002"), "lower_body": ("020101", "020102"), "dresses": ("020201", "020202")}
SIZE = (256, 192)
COLOURS = np.random.default_rng(0).integers(60, 200, (18, 3)).astype(np.uint8)  # of ATR's labels
COLOURS[0] = 220
PARTS = np.zeros(18, np.uint8)  # DensePose's part of each label
PARTS[[4, 7]], PARTS[[6, 12]], PARTS[13], PARTS[14], PARTS[15] = 2, 10, 9, 15, 16


def pair(person: str, garment: str) -> str:
    return f"{person}_0.jpg\t{garment}_1.jpg"


def write_dresscode(root: Path) -> Path:
    """Write the first person of each category for training and the second for testing; return ``root``."""
    lists: dict[str, list[str]] = {"train_pairs": [], "test_pairs_paired": [], "test_pairs_unpaired": []}
    for number, (category, (first, second)) in enumerate(NUMBERS.items()):
        folder = root / category
        for name in (first, second):
            labels = read_labels(GOLDEN / category / "label_maps" / f"{name}_4.png")
            labels = cv2.resize(labels, SIZE[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
            garment = np.full((*SIZE, 3), 250, np.uint8)
            garment[60:200, 50:140] = COLOURS[number + 4]
            write_image(folder / "images" / f"{name}_0.jpg", COLOURS[labels])
            write_image(folder / "images" / f"{name}_1.jpg", garment)
            write_image(folder / "label_maps" / f"{name}_4.png", labels)
            write_image(folder / "dense" / f"{name}_5.png", PARTS[labels])
            keypoints = folder / "keypoints" / f"{name}_2.json"
            keypoints.parent.mkdir(exist_ok=True)
            shutil.copy(GOLDEN / category / "keypoints" / keypoints.name, keypoints)
        own = {
            "train_pairs": pair(first, first),
            "test_pairs_paired": pair(second, second),
            "test_pairs_unpaired": pair(second, first),
        }
        for name, line in own.items():
            write_text(folder / f"{name}.txt", f"{line}\n")
            lists[name].append(f"{line}\t{number}\n")
    for name, lines in lists.items():
        write_text(root / f"{name}.txt", "".join(lines))
    return root
