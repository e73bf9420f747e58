from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from siftvton.app.uploads import Upload, UploadLimits, named
from siftvton.errors import InputError

LIMITS = UploadLimits(megabytes=20, megapixels=40)


def uploaded(path: Path, name: str = "me.jpg") -> Upload:
    upload = Upload.of({"path": str(path), "orig_name": name}, path.parent)
    assert upload is not None
    return upload


def picture(path: Path, format: str, size: tuple[int, int] = (30, 40), mode: str = "RGB") -> Path:
    Image.new(mode, size).save(path, format)
    return path


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_the_content_decides_and_not_the_name(tmp_path: Path, format: str):
    uploaded(picture(tmp_path / "a.gif", format)).require_accepted(LIMITS)


@pytest.mark.parametrize("format", ["GIF", "EPS", "TIFF", "BMP", "PDF"])
def test_other_formats_are_refused_under_the_user_s_name(tmp_path: Path, format: str):
    upload = uploaded(picture(tmp_path / "stored.jpg", format))
    with pytest.raises(InputError, match=r"^me\.jpg: cannot be decoded as JPEG, PNG or WebP"), named(upload):
        upload.require_accepted(LIMITS)


def test_a_large_picture_is_refused_before_it_is_decoded(tmp_path: Path):
    path = picture(tmp_path / "a.png", "PNG", (8000, 5000), "1")
    uploaded(path).require_accepted(LIMITS)
    with pytest.raises(InputError, match=r"me\.jpg: has 8000×5000 pixels, and at most 39 megapixels are allowed"):
        uploaded(path).require_accepted(UploadLimits(20, 39))


def test_a_picture_that_pillow_itself_refuses_is_too_large_as_well(tmp_path: Path):
    path = picture(tmp_path / "a.png", "PNG", (20000, 20000), "1")
    with pytest.raises(InputError, match=r"me\.jpg: has too many pixels, and at most 40 megapixels are allowed"):
        uploaded(path).require_accepted(LIMITS)


def test_a_heavy_file_is_refused(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (700, 600, 3), np.uint8)).save(path)
    uploaded(path).require_accepted(UploadLimits(2, 40))
    with pytest.raises(InputError, match=r"me\.jpg: has 1\.3 MB, and at most 1 MB are allowed"):
        uploaded(path).require_accepted(UploadLimits(1, 40))


@pytest.mark.parametrize("payload", [None, {}, {"path": None, "url": "data:image/png;base64,"}])
def test_nothing_uploaded_is_nothing(payload: dict | None, tmp_path: Path):
    assert Upload.of(payload, tmp_path) is None


def test_a_file_that_was_not_uploaded_is_refused_also_behind_a_link(tmp_path: Path):
    secret, folder = tmp_path / "secret.jpg", tmp_path / "uploads"
    folder.mkdir()
    picture(secret, "JPEG")
    (folder / "link.jpg").symlink_to(secret)
    for path in (secret, folder / "link.jpg", folder / "../secret.jpg", "/etc/passwd"):
        with pytest.raises(InputError, match="was not uploaded to this page"):
            Upload.of({"path": str(path)}, folder)


def test_a_name_with_folders_is_only_a_name(tmp_path: Path):
    assert uploaded(tmp_path / "a", "../../etc/me.png").name == "me.png"
