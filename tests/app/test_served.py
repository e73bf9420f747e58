"""The page's server, driven by Gradio's HTTP client."""

import json
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from served_page import Server, started

from siftvton.app.server import free_port
from siftvton.errors import UsageError
from siftvton.files import read_grey, read_image

POINT = (200, 250)  # x, y on the garment of the first person
# BODY_25's numbers -> pixels of the gallery's first photo, by eye: neck, right and left arm, hips.
JOINTS = {1: (187, 122), 2: (118, 150), 3: (100, 235), 4: (70, 330), 5: (258, 150), 6: (330, 215), 7: (265, 285),
          9: (140, 345), 12: (235, 345)}  # fmt: skip


@pytest.fixture(scope="module")
def connection(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(server.url, verbose=False, download_files=tmp_path_factory.mktemp("downloaded"))


@pytest.fixture
def client(connection: Client) -> Client:
    """A visitor of their own."""
    connection.reset_session()
    return connection


def run(client: Client, painted: dict[str, Any] | None = None, seed: int = 0) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the picture and the settings that the page offers for download."""
    *_, picture, settings = client.predict(painted, seed, 2, 2.5, api_name="/run")
    return read_image(picture["value"]), json.loads(Path(settings["value"]).read_text())


def photo_of(server: Server, index: int) -> np.ndarray:
    return read_image(server.folder / f"output/gallery/test/image/0000{index}_00.jpg")


def mask_of(server: Server, index: int) -> np.ndarray:
    return read_grey(server.folder / f"output/gallery/test/agnostic-mask/0000{index}_00_mask.png") > 127


def test_a_person_and_a_garment_of_the_gallery_become_a_picture(server: Server, client: Client):
    client.predict(0, api_name="/choose_person")
    client.predict(4, api_name="/choose_garment")
    picture, settings = run(client)
    kept = ~mask_of(server, 0)
    photo = photo_of(server, 0)
    far = np.abs(picture.astype(int) - photo)[kept].max(axis=1) > 0
    assert far.mean() < 0.05  # only the soft edge of the mask
    assert np.abs(picture.astype(int) - photo)[~kept].mean() > 10
    expected = {"person": "00000_00", "garment": "00004_00", "mask_edited": False, "seed": 0, "steps": 2}
    assert settings.items() >= expected.items()
    assert re.fullmatch("[0-9a-f]{64}", settings["weights_sha256"])
    assert (run(client)[0] == picture).all()
    assert (run(client, seed=1)[0] != picture).any()


def test_only_what_was_painted_over_changes(server: Server, client: Client, tmp_path: Path):
    _, editor, _ = client.predict(0, api_name="/choose_person")
    client.predict(4, api_name="/choose_garment")
    before, _ = run(client)
    layer = np.asarray(Image.open(editor["layers"][0])).copy()
    layer[:150, :150] = (255, 0, 160, 128)  # the upper left of the photo, 100 pixels high and wide
    Image.fromarray(layer).save(tmp_path / "layer.png")
    painted = {"background": None, "layers": [handle_file(tmp_path / "layer.png")], "composite": None, "id": None}
    after, settings = run(client, painted)
    assert settings["mask_edited"]
    corner = np.zeros(before.shape[:2], bool)
    corner[:100, :100] = True
    photo = photo_of(server, 0)
    assert (before[corner] == photo[corner]).all()
    assert (after[corner] != photo[corner]).mean() > 0.5


def test_the_category_chooses_the_area_to_paint(client: Client):
    rows = []
    for category in ("upper_body", "dresses", "lower_body"):
        _, editor, _ = client.predict(0, category, api_name="/choose_person")
        painted = np.asarray(Image.open(editor["layers"][0]))[..., 3] > 0
        rows.append(np.nonzero(painted)[0].mean())
    assert rows == sorted(rows)
    with pytest.raises(AppError, match="category=hats is not allowed"):
        client.predict(0, "hats", api_name="/choose_person")


def test_a_point_of_the_result_shows_where_it_looked(client: Client):
    client.predict(1, api_name="/choose_person")
    client.predict(6, api_name="/choose_garment")
    with pytest.raises(AppError, match="there is no result yet"):
        client.predict(*POINT, api_name="/look")
    picture, _ = run(client)
    marked, looked = (read_image(path) for path in client.predict(*POINT, api_name="/look"))
    near = marked[POINT[1] - 12 : POINT[1] + 12, POINT[0] - 12 : POINT[0] + 12]
    assert (marked != picture).any(axis=2).sum() == (near != picture[238:262, 188:212]).any(axis=2).sum() > 50
    redness = looked[..., 0].astype(int) - looked[..., 2]
    assert redness.max() > 150
    assert (redness > 100).mean() < 0.3
    with pytest.raises(AppError, match=r"the point \(999, 0\) is not on the result"):
        client.predict(999, 0, api_name="/look")


def test_an_uploaded_photo_is_prepared_by_its_side_files(server: Server, client: Client, tmp_path: Path):
    test = server.folder / "output/gallery/test"
    photo = tmp_path / "me at home.jpg"
    photo.write_bytes((test / "image/00000_00.jpg").read_bytes())
    values = np.zeros((25, 3))
    for number, place in JOINTS.items():
        values[number] = (*place, 0.9)
    pose = tmp_path / "pose.json"
    pose.write_text(json.dumps({"people": [{"pose_keypoints_2d": values.ravel().tolist()}]}))
    files = [handle_file(photo), handle_file(pose), None, handle_file(test / "image-densepose/00000_00.jpg")]
    editor, remarks = client.predict(*files, api_name="/upload_person")
    drawn = np.asarray(Image.open(editor["layers"][0]).resize((384, 512)))[..., 3] > 0
    true = mask_of(server, 0)
    assert (drawn & true).sum() / (drawn | true).sum() > 0.6
    assert remarks.startswith("- ")  # without a parsing, face and hands cannot be taken out
    client.predict(handle_file(test / "cloth/00004_00.jpg"), api_name="/upload_garment")
    _, settings = run(client)
    assert settings["person"] == "me at home"
    with pytest.raises(AppError, match=r"^me at home\.jpg: its joints are not known"):
        client.predict(files[0], None, None, None, api_name="/upload_person")


BAD: dict[str, tuple[bytes | str, str]] = {
    "text.jpg": (b"hello", "cannot be decoded as JPEG, PNG or WebP"),
    "empty.png": (b"", "cannot be decoded as JPEG, PNG or WebP"),
    "postscript.jpg": ("EPS", "cannot be decoded as JPEG, PNG or WebP"),
    "animation.png": ("GIF", "cannot be decoded as JPEG, PNG or WebP"),
    "drawing.svg": (b"<svg/>", "cannot be decoded as JPEG, PNG or WebP"),
    "cut.jpg": ("cut", "cannot be decoded (image file is truncated"),
    "panorama.png": ("large", "has 10000×4001 pixels, and at most 40 megapixels are allowed"),
}


def bad_file(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 150, 3), np.uint8))
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "large":
        Image.new("1", (10000, 4001)).save(path)
    elif content == "cut":
        noise.save(path, "JPEG")
        path.write_bytes(path.read_bytes()[:3000])
    else:
        noise.save(path, content)
    return path


def test_a_person_and_a_garment_must_be_chosen_first(client: Client):
    with pytest.raises(AppError, match="no person is chosen"):
        run(client)
    client.predict(0, api_name="/choose_person")
    with pytest.raises(AppError, match="no garment is chosen"):
        run(client)


def test_a_bad_upload_is_one_sentence_under_the_user_s_name(client: Client, tmp_path: Path):
    for name, (content, said) in BAD.items():
        upload = handle_file(bad_file(tmp_path, name, content))
        for call in ((upload, None, None, None, "/upload_person"), (upload, "/upload_garment")):
            with pytest.raises(AppError) as refused:
                client.predict(*call[:-1], api_name=call[-1])
            message = str(refused.value)
            assert message.startswith(f"{name}: {said}")
            assert "\n" not in message
            assert "Traceback" not in message


def test_a_heavy_upload_is_refused_and_nothing_of_it_stays(server: Server):
    temporary = server.folder / "output/temporary"
    before = sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file())
    answer = httpx.post(f"{server.url}gradio_api/upload", files={"files": ("a.jpg", bytes(20_000_001))})
    assert answer.status_code == 413
    assert "maximum allowed size of 20000000 bytes" in answer.text
    assert sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file()) == before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ((-1, 2, 2.5), "seed=-1 is not allowed"),
        ((None, 2, 2.5), "seed=None is not allowed"),
        ((0, 0, 2.5), "steps=0 is not allowed"),
        ((0, 112, 2.5), "steps=112: .* use 111 or 113"),
        ((0, 2, "much"), "guidance=much is not allowed"),
    ],
)
def test_a_bad_setting_is_one_sentence(client: Client, settings: tuple, said: str):
    client.predict(0, api_name="/choose_person")
    client.predict(0, api_name="/choose_garment")
    with pytest.raises(AppError, match=said):
        client.predict(None, *settings, api_name="/run")


def test_one_picture_is_made_at_a_time(server: Server, client: Client, tmp_path: Path):
    other = Client(server.url, verbose=False, download_files=tmp_path)
    for visitor in (client, other):
        visitor.predict(0, api_name="/choose_person")
        visitor.predict(0, api_name="/choose_garment")
    started_at = time.monotonic()
    jobs = [visitor.submit(None, 0, 10, 2.5, api_name="/run") for visitor in (client, other)]
    settings = [json.loads(Path(job.result(timeout=120)[-1]["value"]).read_text()) for job in jobs]
    assert time.monotonic() - started_at > sum(each["seconds"] for each in settings)


@pytest.mark.parametrize("marks", [{"meta": {"_type": "gradio.FileData"}}, {}], ids=["marked as a file", "unmarked"])
def test_files_of_the_computer_cannot_be_named_as_uploads(server: Server, client: Client, marks: dict):
    secret = server.folder / "log"
    index = next(each["id"] for each in client.config["dependencies"] if each["api_name"] == "upload_garment")
    visit = {"session_hash": str(len(marks)), "fn_index": index}
    body = {"data": [{"path": str(secret), **marks}], **visit}
    httpx.post(f"{server.url}gradio_api/queue/join", json=body).raise_for_status()
    with httpx.stream("GET", f"{server.url}gradio_api/queue/data", params=visit, timeout=60) as events:
        text = next(line for line in events.iter_lines() if "process_completed" in line)
    assert '"success":false' in text
    assert "cannot be decoded" not in text  # nobody has looked into it
    assert httpx.get(f"{server.url}gradio_api/file={secret}").status_code == 403


def test_the_browser_may_not_load_anything_from_elsewhere(server: Server):
    answer = httpx.get(server.url)
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    assert "GoogleFont" not in answer.text
    assert "fonts.googleapis" not in answer.text


def test_the_server_asks_no_other_host(server: Server, client: Client):
    client.predict(2, api_name="/choose_person")
    client.predict(2, api_name="/choose_garment")
    run(client)
    assert server.asked() == []


def test_results_are_kept_if_that_is_asked_for_and_sigterm_ends_the_page_as_well(tmp_path: Path):
    with started(tmp_path, "keep=true") as server:
        client = Client(server.url, verbose=False, download_files=tmp_path / "downloaded")
        client.predict(0, api_name="/choose_person")
        client.predict(
            handle_file(server.folder / "output/gallery/test/cloth/00003_00.jpg"), api_name="/upload_garment"
        )
        picture, settings = run(client)
        assert server.stop(signal.SIGTERM) == {"app.yaml", "gallery", "results"}
    (folder,) = (tmp_path / "output/results").iterdir()
    kept = {path.suffix: path for path in folder.iterdir()}
    assert kept.keys() == {".png", ".json"}
    assert (read_image(kept[".png"]) == picture).all()
    assert json.loads(kept[".json"].read_text()) == settings


def test_a_port_that_is_taken_is_refused_before_anything_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=rf"^host=127\.0\.0\.1 port={port}: no server can listen there"):
            free_port("127.0.0.1", port)
    assert free_port("127.0.0.1", port) == port
    with pytest.raises(UsageError, match=r"^host=192\.0\.2\.1 port=7959: no server can listen there"):
        free_port("192.0.2.1", None)  # an address for examples, which no computer has
