from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest

from siftvton.app.actions import LONGEST_SHOWN, Actions, for_screen, in_one_sentence
from siftvton.app.gallery import Gallery
from siftvton.app.uploads import UploadLimits
from siftvton.errors import InputError


def page_actions(tmp_path: Path) -> Actions:
    network: Any = SimpleNamespace(size=(128, 96))
    return Actions(network, Gallery([], []), UploadLimits(20, 40), {}, tmp_path, None)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InputError("me.jpg: is wrong\n  for a reason"), "me.jpg: is wrong for a reason"),
        (InputError("<b>.jpg & more"), "&lt;b&gt;.jpg &amp; more"),
        (KeyError("mask"), "unexpected KeyError: 'mask'; the terminal shows where"),
        (RuntimeError("first\nTraceback"), "unexpected RuntimeError: first; the terminal shows where"),
    ],
)
def test_whatever_happens_is_one_sentence_that_the_browser_does_not_read_as_html(error: Exception, said: str):
    @in_one_sentence
    def action() -> None:
        raise error

    with pytest.raises(gr.Error) as shown:
        action()
    assert shown.value.message == said


def test_only_an_unexpected_error_leaves_a_traceback_in_the_terminal(capsys: pytest.CaptureFixture[str]):
    for error in (InputError("me.jpg: is wrong"), KeyError("mask")):

        @in_one_sentence
        def action(error: Exception = error) -> None:
            raise error

        with pytest.raises(gr.Error):
            action()
        assert ("Traceback" in capsys.readouterr().err) == isinstance(error, KeyError)


def test_a_large_picture_is_made_smaller_for_the_screen_alone():
    assert for_screen(np.zeros((4000, 3000, 3), np.uint8)).shape == (LONGEST_SHOWN, 960, 3)
    small = np.zeros((512, 384, 3), np.uint8)
    assert for_screen(small) is small


def test_a_click_on_a_reduced_result_means_the_point_of_the_whole_one(tmp_path: Path):
    asked = []

    def looked_at(x: float, y: float) -> np.ndarray:
        asked.append((x, y))
        return np.ones((64, 48), np.float32)

    garment = SimpleNamespace(prepared=SimpleNamespace(picture=np.zeros((64, 48, 3), np.uint8)))
    picture = np.zeros((4 * LONGEST_SHOWN, 3 * LONGEST_SHOWN, 3), np.uint8)
    result: Any = SimpleNamespace(picture=picture, garment=garment, looked_at=looked_at)
    marked, looked = page_actions(tmp_path).look(result, 100, 200)
    assert asked == [(401.5, 801.5)]
    assert marked.shape == (LONGEST_SHOWN, 960, 3)
    assert looked.shape == (64, 48, 3)
    ys, xs = np.nonzero(marked.any(axis=2))
    assert (abs(xs.mean() - 100), abs(ys.mean() - 200)) < (1, 1)
