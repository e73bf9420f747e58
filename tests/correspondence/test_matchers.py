"""Matchers other than SIFT, from the search to the correspondences."""

import re
import textwrap
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from shifted_print import FRAME, SHIFT, scene

from siftvton.commands.preprocess_sift import PreprocessSift
from siftvton.correspondence import (
    MATCHERS,
    PRESETS,
    KeyPointMatches,
    KeyPoints,
    Matcher,
    find_correspondences,
    matcher,
    matchers,
)
from siftvton.correspondence.filters import ENOUGH
from siftvton.correspondence.matching import match_regions
from siftvton.correspondence.regions import PART_COLOURS, Region, regions
from siftvton.errors import UsageError
from siftvton.options import keys


class Shift:
    """A matcher without size and angle: every eighth pixel and the pixel ``SHIFT`` away."""

    def __init__(self) -> None:
        self.searched: list[list[Region]] = []  # the areas of each call

    def match(self, person: np.ndarray, garment: np.ndarray, areas: Sequence[Region]) -> list[KeyPointMatches]:
        self.searched.append(list(areas))
        height, width = person.shape[:2]
        row, column = np.mgrid[4 : height - SHIFT[1] : 8, 4 : width - SHIFT[0] : 8].reshape(2, -1)
        start = np.stack([column, row], axis=1)
        found = KeyPointMatches(
            KeyPoints.at(start, person), KeyPoints.at(start + SHIFT, garment), np.zeros(len(start), np.float32)
        )
        return [found.within(area) for area in areas]


def two_parts() -> tuple[np.ndarray, np.ndarray]:
    """DensePose of the photo and parsing of the garment: torso on the left, left arm on the right."""
    body, parts = np.zeros(FRAME, int), np.zeros(FRAME, np.uint8)
    body[:, :70], body[:, 80:] = 2, 15
    parts[:, :82], parts[:, 92:] = 6, 21
    return PART_COLOURS[body], parts


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("joint", [False, True])
def test_a_matcher_without_size_and_angle_gives_correspondences(preset: str, joint: bool) -> None:
    densepose, parsing = two_parts()
    found = find_correspondences(
        *scene(), densepose=densepose, parsing=parsing, frame=FRAME, preset=preset, joint=joint, matcher=Shift()
    )
    assert len(found) > 2 * ENOUGH
    np.testing.assert_array_equal(found.garment - found.person, np.broadcast_to(SHIFT, (len(found), 2)))
    torso = found.person[:, 0] < 75
    assert 0 < torso.sum() < len(found)
    assert (np.diff(torso.astype(int)) <= 0).all(), "the torso comes first"


@pytest.mark.parametrize("preset", PRESETS)
def test_stages_that_need_size_or_angle_are_not_in_the_counts(preset: str) -> None:
    (by_sift,) = match_regions(*scene(), regions(FRAME, FRAME), PRESETS[preset])
    (found,) = match_regions(*scene(), regions(FRAME, FRAME), PRESETS[preset], matcher=Shift())
    assert list(found.counts) == [stage for stage in by_sift.counts if stage not in ("angle", "scale")]
    assert found.counts["ratio"] == len(found.matches)
    assert found.counts["minimum"] == len(found.kept) > ENOUGH
    assert found.kept.person.angle is None


def test_all_regions_are_searched_in_one_call() -> None:
    areas = [Region(name, np.ones(FRAME, bool), np.ones(FRAME, bool)) for name in ("torso", "left_arm")]
    apart, together = Shift(), Shift()
    match_regions(*scene(), areas, PRESETS["paper"], matcher=apart)
    assert apart.searched == [areas]
    match_regions(*scene(), areas, PRESETS["paper"], joint=True, matcher=together)
    ((union,),) = together.searched
    assert union.person.all()
    assert union.garment.all()


class Fixed:
    """A matcher that always gives the same results."""

    def __init__(self, *found: KeyPointMatches) -> None:
        self.found = found

    def match(self, person: np.ndarray, garment: np.ndarray, areas: Sequence[Region]) -> Sequence[KeyPointMatches]:
        return self.found


@pytest.mark.parametrize("xy", [(144, 0), (0, -0.6), (np.nan, 0)])
@pytest.mark.parametrize("joint", [False, True])
def test_a_matcher_s_point_outside_the_pictures_is_refused(xy: tuple[float, float], joint: bool) -> None:
    points, outside = (
        KeyPoints(np.array([each], np.float32), None, None, np.zeros((1, 3), np.uint8)) for each in ((1, 1), xy)
    )
    areas = regions(FRAME, FRAME)
    for person, garment, picture in ((outside, points, "photo"), (points, outside, "garment's picture")):
        found = KeyPointMatches(person, garment, np.zeros(1))
        with pytest.raises(AssertionError, match=f"outside the {picture}"):
            match_regions(*scene(), areas, PRESETS["paper"], joint, Fixed(found))


def test_a_matcher_gives_one_result_for_each_area() -> None:
    with pytest.raises(AssertionError, match="gave 0 results for 1 areas"):
        match_regions(*scene(), regions(FRAME, FRAME), PRESETS["paper"], matcher=Fixed())


# The registry


def test_the_configuration_allows_the_registered_matchers() -> None:
    entry = keys(PreprocessSift)["matcher"]
    assert entry.metadata["choices"] == tuple(MATCHERS)
    assert entry.default == "sift"


def test_sift_by_name_finds_what_the_default_finds() -> None:
    default, named = (find_correspondences(*scene(), frame=FRAME, **key) for key in ({}, {"matcher": matcher("sift")}))
    assert len(default) > 40
    np.testing.assert_array_equal(named.person, default.person)
    np.testing.assert_array_equal(named.garment, default.garment)


def test_a_matcher_is_built_once_and_only_if_it_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def build() -> Matcher:
        built.append(Shift())
        return built[-1]

    monkeypatch.setitem(MATCHERS, "shift", build)
    matcher("sift")
    assert not built
    assert matcher("shift") is matcher("shift")
    assert len(built) == 1


def test_an_unknown_matcher_is_named() -> None:
    with pytest.raises(UsageError, match="matcher=dense is not allowed; use one of: sift"):
        matcher("dense")


@pytest.mark.parametrize("joint", [False, True])
def test_the_example_of_a_new_matcher_runs_as_written(joint: bool) -> None:
    code = re.search(r"::\n\n((?:    .*\n)+)", matchers.__doc__ or "")
    assert code
    names = {"cv2": cv2, "np": np, "KeyPoints": KeyPoints, "KeyPointMatches": KeyPointMatches}
    exec(compile(textwrap.dedent(code[1]), "matchers.py", "exec"), names)
    densepose, parsing = two_parts()
    found = find_correspondences(
        *scene(), densepose=densepose, parsing=parsing, frame=FRAME, joint=joint, matcher=names["Flow"]()
    )
    assert len(found) > 2 * ENOUGH
    np.testing.assert_allclose(found.garment - found.person, np.broadcast_to(SHIFT, (len(found), 2)), atol=1)
