import cv2
import numpy as np
import pytest
from shifted_print import FRAME, SHIFT, scene

from siftvton.correspondence import PRESETS, find_correspondences, sift
from siftvton.correspondence.matching import joined, match_regions
from siftvton.correspondence.regions import PART_COLOURS, Region, regions
from siftvton.errors import UsageError


def columns(first: int, last: int) -> np.ndarray:
    mask = np.zeros(FRAME, bool)
    mask[:, first:last] = True
    return mask


@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_print_shifted_gives_the_shift(preset: str) -> None:
    person, garment = scene()
    found = find_correspondences(person, garment, frame=FRAME, preset=preset)
    assert len(found) > 40
    assert found.frame == FRAME
    np.testing.assert_allclose(found.garment - found.person, np.broadcast_to(SHIFT, (len(found), 2)), atol=1.5)


def test_pictures_of_any_size_are_matched_in_the_frame() -> None:
    person, garment = (cv2.resize(picture, (288, 384)) for picture in scene())
    found = find_correspondences(person, garment, frame=FRAME)
    np.testing.assert_allclose(np.median(found.garment - found.person, axis=0), SHIFT, atol=0.3)
    assert (found.person < [144, 192]).all()


@pytest.mark.parametrize("joint", [False, True])
def test_matches_stay_in_their_regions_region_after_region(joint: bool) -> None:
    person, garment = scene()
    body = np.zeros(FRAME, int)
    body[:, :70], body[:, 80:] = 2, 15  # torso, left arm
    parts = np.zeros(FRAME, np.uint8)
    parts[:, :82], parts[:, 92:] = 6, 21  # the same shifted
    found = find_correspondences(
        person, garment, densepose=PART_COLOURS[body], parsing=parts, frame=FRAME, preset="paper", joint=joint
    )
    x_p, x_g = found.person[:, 0], found.garment[:, 0]
    torso = x_p < 75
    assert torso.sum() >= 4
    assert (~torso).sum() >= 4
    assert (np.diff(torso.astype(int)) <= 0).all()  # the torso's come first
    assert (x_g[torso] < 84).all()
    assert (x_g[~torso] > 90).all()


def test_a_region_with_fewer_than_two_gives_none_whatever_others_have() -> None:
    person, garment = scene()
    nothing = np.zeros(FRAME, bool)
    areas = [
        Region("torso", columns(0, 144), columns(0, 144)),
        Region("right_arm", nothing, columns(0, 144)),
        Region("left_arm", columns(0, 144), nothing),
    ]
    found = match_regions(person, garment, areas, PRESETS["published"])
    assert [each.counts["ratio"] > 0 for each in found] == [True, False, False]
    assert [len(each.kept) > 0 for each in found] == [True, False, False]
    assert len(joined([each.kept for each in found], FRAME)) == len(found[0].kept)


def test_kept_and_dropped_are_all_matches() -> None:
    person, garment = scene()
    garment = garment.copy()
    garment[90:, :] = garment[90:, ::-1]  # a part that mirrors, so that filters have something to drop
    areas = regions(FRAME, FRAME)
    (found,) = match_regions(person, garment, areas, PRESETS["published"])
    assert len(found.dropped) > 0
    assert len(found.kept) + len(found.dropped) == len(found.matches) == found.counts["ratio"]
    both = np.concatenate([found.kept.distance, found.dropped.distance])
    np.testing.assert_array_equal(np.sort(both), found.matches.distance)


def test_a_garment_area_that_regions_share_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    detect = sift.detect

    def counted(picture: np.ndarray) -> tuple[sift.KeyPoints, np.ndarray]:
        calls.append(picture)
        return detect(picture)

    monkeypatch.setattr(sift, "detect", counted)
    person, garment = scene()
    thirds = np.repeat(np.arange(3), FRAME[1] // 3) * np.ones((FRAME[0], 1), int)
    body = PART_COLOURS[np.array([2, 15, 16])[thirds]]
    find_correspondences(person, garment, densepose=body, frame=FRAME)
    assert len(calls) == 3 + 1
    calls.clear()
    find_correspondences(person, garment, densepose=body, parsing=np.array([5, 21, 22], np.uint8)[thirds], frame=FRAME)
    assert len(calls) == 3 + 3
    calls.clear()
    find_correspondences(person, garment, densepose=body, frame=FRAME, joint=True)
    assert len(calls) == 1 + 1


def test_searched_together_a_match_between_two_regions_belongs_to_neither() -> None:
    person, garment = scene()
    torso = Region("torso", columns(0, 70), columns(0, 70))
    crossed = Region("right_arm", columns(70, 144), columns(0, 70))
    found = match_regions(person, garment, [torso, crossed], PRESETS["published"], joint=True)
    assert found[0].counts["ratio"] > 10
    x = found[1].matches.person.xy[:, 0], found[1].matches.garment.xy[:, 0]
    assert (x[0] > 69).all()
    assert (x[1] < 70).all()


def test_a_region_that_is_empty_on_one_side_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    person, garment = scene()
    nothing, all_of_it = np.zeros(FRAME, bool), np.ones(FRAME, bool)
    areas = [Region("torso", all_of_it, all_of_it), Region("a", nothing, all_of_it), Region("b", all_of_it, nothing)]
    searched = []
    detect = sift.detect
    monkeypatch.setattr(sift, "detect", lambda picture: searched.append(1) or detect(picture))
    found = match_regions(person, garment, areas, PRESETS["published"])
    assert len(searched) == 2
    assert [len(each.matches) > 0 for each in found] == [True, False, False]


def test_a_photo_is_not_searched_if_its_garment_has_too_few_key_points(monkeypatch: pytest.MonkeyPatch) -> None:
    person, garment = scene()
    searched = []
    detect = sift.detect
    monkeypatch.setattr(sift, "detect", lambda picture: searched.append(picture) or detect(picture))
    plain = np.full_like(garment, 200)
    for worn, expected in ((plain, [plain]), (garment, [garment, person])):
        find_correspondences(person, worn, frame=FRAME)
        assert len(searched) == len(expected)
        assert all(map(np.array_equal, searched, expected))
        searched.clear()


def test_a_plain_pair_has_no_match() -> None:
    plain = np.full((*FRAME, 3), 200, np.uint8)
    found = find_correspondences(plain, plain, frame=FRAME)
    assert len(found) == 0
    assert found.person.shape == (0, 2)


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(UsageError, match="preset=strict is not allowed; use one of: published, paper"):
        find_correspondences(*scene(), frame=FRAME, preset="strict")
