"""The layout of the page, and which action each part starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from siftvton.app.actions import Actions
from siftvton.app.gallery import Example
from siftvton.drawing import TINT

STYLE = Path(__file__).with_name("page.css")
FONT = ["system-ui", "sans-serif"]  # no font is fetched
THEME = gr.themes.Base(primary_hue="indigo", neutral_hue="slate", font=FONT, font_mono=["ui-monospace", "monospace"])
TITLE = "Virtual try-on"
EXPIRY = (600, 3600)  # seconds: how often old files are looked for, and the age at which they are removed
TURN: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network"}  # the network does one thing at a time
WITHIN: dict[str, Any] = {"queue": False, "api_visibility": "private"}  # small steps inside the page
MOST_WAITING = 20  # requests in the queue
UPLOAD_HEIGHT, FILE_HEIGHT, EDITOR_HEIGHT, RESULT_HEIGHT = 330, 140, 470, 440  # pixels on a wide screen
LONGEST_SLIDER, STRONGEST_SLIDER = 100, 10  # steps, guidance; a larger value of the configuration is kept
# The side files that can be uploaded with a photo, in the order in which the actions take them.
SIDE_FILES = {"Joints (JSON of OpenPose)": ".json", "Parsing (labels)": "image", "DensePose": "image"}
CHOICES = [("Upper body", "upper_body"), ("Lower body", "lower_body"), ("Dress", "dresses")]
BRUSH = ("#{:02x}{:02x}{:02x}".format(*TINT), 0.5)  # colour and opacity


def page_of(actions: Actions, about: str) -> gr.Blocks:
    """Return the page; :func:`siftvton.app.server.serve` shows it.

    Args:
        about: text below the title, in Markdown.
    """
    sampling = actions.tryon.sampling
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=EXPIRY) as page:
        person, garment, result, from_gallery = gr.State(), gr.State(), gr.State(), gr.State()
        gr.Markdown(f"# {TITLE}\n{about}", elem_id="head")

        with gr.Row(elem_classes="three"):
            with gr.Column(min_width=280):
                gr.Markdown("## 1 · Person")
                photo = _upload("Photo of a person", "photo")
                persons = _thumbnails(actions.gallery.persons, "persons")
                category = gr.Radio(CHOICES, value=actions.category, label="What is changed?", elem_id="category")
                with gr.Accordion("Files that you have already", open=False, elem_id="sides"):
                    gr.Markdown("They are used in place of the models. Upload the photo first.", elem_classes="hint")
                    sides = [
                        gr.File(label=label, file_types=[kind], height=FILE_HEIGHT, interactive=True)
                        for label, kind in SIDE_FILES.items()
                    ]
            with gr.Column(min_width=280):
                gr.Markdown("## 2 · Area to paint")
                editor = gr.ImageEditor(
                    label="Area to paint",
                    show_label=False,
                    elem_id="editor",
                    height=EDITOR_HEIGHT,
                    canvas_size=(actions.canvas.width, actions.canvas.height),
                    fixed_canvas=True,
                    placeholder="Choose a person first",
                    sources=(),
                    transforms=(),
                    layers=False,
                    brush=gr.Brush(colors=[BRUSH], default_color=BRUSH, color_mode="fixed", default_size=24),
                    eraser=gr.Eraser(default_size=24),
                    format="png",
                    buttons=[],
                    interactive=True,
                )
                gr.Markdown("The tinted area is painted. Change it with the brush and the eraser.", elem_classes="hint")
                remarks = gr.Markdown(elem_id="remarks", elem_classes="hint")
            with gr.Column(min_width=280):
                gr.Markdown("## 3 · Garment")
                cloth = _upload("Picture of a garment", "garment")
                garments = _thumbnails(actions.gallery.garments, "garments")

        with gr.Row(elem_id="settings", equal_height=True):
            steps = gr.Slider(
                1, max(LONGEST_SLIDER, sampling.steps), sampling.steps, step=1, label="Steps", min_width=150
            )
            guidance = gr.Slider(
                0,
                max(STRONGEST_SLIDER, sampling.guidance),
                sampling.guidance,
                step=0.1,
                label="Guidance",
                min_width=150,
            )
            seed = gr.Number(sampling.seed, label="Seed", precision=0, minimum=0, min_width=110)
            button = gr.Button("Try it on", variant="primary", elem_id="run", min_width=150)

        with gr.Row(elem_classes="three", elem_id="results"):
            before = _picture("Photo", "before")
            after = _picture("Result", "after")
            looked = _picture("Where did it look?", "looked")
        gr.Markdown("Click a point of the result to see where on the garment the network looked.", elem_classes="hint")
        with gr.Row(elem_id="downloads"):
            save_picture = gr.DownloadButton("Download result (PNG)", interactive=False, elem_id="save_picture")
            save_settings = gr.DownloadButton("Download settings (JSON)", interactive=False, elem_id="save_settings")

        chosen = [person, editor, remarks]
        by_network: dict[str, Any] = {"preprocess": False, **TURN}
        persons.click(
            actions.choose_person, [persons, category], [photo, *chosen], api_name="choose_person",
            show_progress_on=editor, **by_network,
        )  # fmt: skip
        persons.click(lambda: [None] * len(sides), None, sides, **WITHIN)
        persons.click(lambda index: index, persons, from_gallery, preprocess=False, **WITHIN)
        photo.upload(lambda: None, None, from_gallery, **WITHIN)
        checked = photo.upload(actions.check_photo, photo, None, preprocess=False, api_visibility="private")
        checked.failure(lambda: [None] * 4, None, [photo, *chosen], **WITHIN)
        prepare: dict[str, Any] = {"fn": actions.upload_person, "inputs": [photo, *sides, category], "outputs": chosen}
        for prepared in (
            checked.success(**prepare, api_name="upload_person", show_progress_on=editor, **by_network),
            gr.on(
                [event for side in sides for event in (side.upload, side.clear)],
                **prepare, api_visibility="private", show_progress_on=editor, **by_network,
            ),
            category.input(
                actions.change_category, [from_gallery, photo, *sides, category], chosen,
                api_visibility="private", show_progress_on=editor, **by_network,
            ),
        ):  # fmt: skip
            prepared.failure(lambda: [None] * 3, None, chosen, **WITHIN)
        photo.clear(lambda: [None] * (4 + len(sides)), None, [*chosen, *sides, from_gallery], **WITHIN)

        garments.click(
            actions.choose_garment, garments, [cloth, garment], api_name="choose_garment",
            show_progress="hidden", **by_network,
        )  # fmt: skip
        cloth.upload(
            actions.upload_garment, cloth, garment, api_name="upload_garment", **by_network
        ).failure(lambda: [None] * 2, None, [cloth, garment], **WITHIN)  # fmt: skip
        cloth.clear(lambda: None, None, garment, **WITHIN)

        # The editor also sends each change to a store in memory, which nothing reads.
        editor.change(editor.blob_storage.clear, **WITHIN)
        button.click(
            actions.run,
            [person, garment, editor, seed, steps, guidance],
            [before, after, result, save_picture, save_settings],
            api_name="run",
            show_progress_on=after,
            **by_network,
        ).success(lambda: None, None, looked, **WITHIN)
        x, y = gr.Number(visible=False), gr.Number(visible=False)
        after.select(_clicked, None, [x, y], **WITHIN).then(
            actions.look, [result, x, y], [after, looked], api_name="look", show_progress_on=looked, **TURN
        )
    return page.queue(max_size=MOST_WAITING)


def _clicked(event: gr.SelectData) -> tuple[int, int]:
    """Return the clicked pixel (x, y) of a picture."""
    return event.index[0], event.index[1]


def _upload(label: str, name: str) -> gr.Image:
    return gr.Image(
        label=label,
        show_label=False,
        elem_id=name,
        height=UPLOAD_HEIGHT,
        sources=["upload", "clipboard"],
        type="filepath",
        buttons=[],
        placeholder=f"{label}\nJPEG, PNG or WebP",
        interactive=True,
    )


def _thumbnails(examples: Sequence[Example], name: str) -> gr.Dataset:
    return gr.Dataset(
        components=[gr.Image(visible=False)],
        samples=[[str(example.picture)] for example in examples],
        type="index",
        show_label=False,
        elem_id=name,
        elem_classes="thumbnails",
    )


def _picture(label: str, name: str) -> gr.Image:
    return gr.Image(
        label=label,
        elem_id=name,
        height=RESULT_HEIGHT,
        format="png",
        buttons=[],
        interactive=False,
        min_width=150,
        alt_text=label,
    )
