from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from siftvton.app.mask_editor import Canvas
from siftvton.errors import InputError

CANVAS = Canvas.of(128, 96)
NETWORK = (1024, 768)  # a prepared photo is larger than the canvas


def png(layer: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(layer).save(file, "PNG")
    return file.getvalue()


def photo_and_mask(size: tuple[int, int] = NETWORK) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 4 : size[0] // 2 + 1, size[1] // 4 : size[1] // 2 + 1] = 255
    return np.full((*size, 3), 90, np.uint8), mask


def test_the_canvas_has_the_network_s_proportions():
    assert (CANVAS.height, CANVAS.width) == (768, 576)
    assert Canvas.of(96, 128) == Canvas(576, 768)


@pytest.mark.parametrize("size", [NETWORK, (128, 96), (700, 333), (300, 600)])
def test_a_mask_that_nobody_changed_stays_as_it_is(size: tuple[int, int]):
    photo, mask = photo_and_mask(size)
    shown = CANVAS.value(photo, mask)
    assert shown["background"].shape == (768, 576, 3)
    assert CANVAS.edited(mask, [png(shown["layers"][0])]) is mask


def test_the_brush_paints_and_the_eraser_erases_in_the_photo_s_pixels():
    photo, mask = photo_and_mask()
    layer = CANVAS.value(photo, mask)["layers"][0]
    layer[600:700, 300:400] = (255, 0, 160, 255)  # painted; 800 to 933 and 400 to 533 in the photo
    layer[192:240, 140:292] = 0  # erased; the mask's upper quarter, 256 to 320
    edited = CANVAS.edited(mask, [png(layer)])
    assert (edited[805:925, 405:525] == 255).all()
    assert (edited[260:315] == 0).all()
    elsewhere = np.ones(NETWORK, bool)
    elsewhere[795:940, 395:540] = elsewhere[250:325] = False
    assert (edited[elsewhere] == mask[elsewhere]).all()


def test_strokes_beside_a_narrow_photo_change_nothing():
    photo, mask = photo_and_mask((1000, 400))
    layer = CANVAS.value(photo, mask)["layers"][0]
    layer[:, :100] = 255
    assert CANVAS.edited(mask, [png(layer)]) is mask


def test_without_a_layer_everything_was_erased():
    _, mask = photo_and_mask()
    assert not CANVAS.edited(mask, []).any()


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (b"GIF89a", "cannot be decoded"),
        (png(np.zeros((768, 576, 4), np.uint8))[:60], "cannot be decoded"),
        (png(np.zeros((10, 20, 4), np.uint8)), "20×10 pixels instead of 576×768"),
    ],
)
def test_a_layer_that_the_editor_cannot_have_sent_is_refused(layer: bytes, said: str):
    with pytest.raises(InputError, match=f"^mask: .*{said}"):
        CANVAS.edited(photo_and_mask()[1], [layer])
