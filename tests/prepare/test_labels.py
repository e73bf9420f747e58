"""Parsing labels of CIHP, LIP and ATR in CIHP's numbers."""

import numpy as np
import pytest

from siftvton.errors import InputError
from siftvton.prepare.joints import Joints
from siftvton.prepare.labels import CIHP, Scheme, chin_distance, guess_scheme, to_cihp, with_neck


def row(*labels: int) -> np.ndarray:
    return np.array([labels], np.uint8)


def test_cihp_stays_as_it_is() -> None:
    labels = row(*range(20))
    np.testing.assert_array_equal(to_cihp(labels, "cihp"), labels)
    assert (CIHP["trousers"], CIHP["face"], CIHP["left_arm"], CIHP["right_shoe"]) == (9, 13, 14, 19)


def test_lip_differs_in_the_jumpsuit_alone() -> None:
    assert to_cihp(row(*range(20)), "lip")[0].tolist() == [*range(10), 6, *range(11, 20)]


def test_atr_is_translated() -> None:
    translated = to_cihp(row(*range(18)), "atr")
    assert translated.dtype == np.uint8
    assert translated[0].tolist() == [0, 1, 2, 4, 5, 12, 9, 6, 9, 18, 19, 13, 16, 17, 14, 15, 0, 11]


@pytest.mark.parametrize(("scheme", "highest"), [("cihp", 19), ("lip", 19), ("atr", 17)])
def test_a_label_that_the_scheme_lacks_is_refused(scheme: Scheme, highest: int) -> None:
    with pytest.raises(InputError, match=f"label {highest + 1}, but {scheme.upper()} has only 0 to {highest}; give"):
        to_cihp(row(0, highest + 1), scheme)


def test_the_scheme_is_guessed_only_where_it_is_certain() -> None:
    nose = Joints({"nose": (1.5, 0.0)})
    assert guess_scheme(row(0, 18)) == "cihp"
    assert guess_scheme(row(0, 13)) is None
    assert guess_scheme(row(0, 13), nose) == "cihp"
    assert guess_scheme(row(0, 11), nose) == "atr"
    assert guess_scheme(row(11, 2, 11, 13), nose) is None
    assert guess_scheme(row(11, 13), Joints({"nose": (-1.0, 0.0)})) is None
    assert guess_scheme(row(11, 13), Joints({"nose": (2.0, 0.0)})) is None
    assert guess_scheme(row(11, 13), Joints({"neck": (1.0, 0.0)})) is None


def test_the_neck_is_cut_off_the_face_below_the_chin() -> None:
    joints = Joints({"nose": (5.0, 10.0), "neck": (5.0, 50.0)})
    assert chin_distance(joints) == pytest.approx(18)
    labels = np.full((60, 11), CIHP["face"], np.uint8)
    labels[:, 0] = CIHP["hair"]
    cut = with_neck(labels, joints)
    assert (cut[:, 5] == CIHP["face"]).nonzero()[0].max() == 28
    assert (cut[29:, 1:] == CIHP["torso_skin"]).all()
    assert (cut[:, 0] == CIHP["hair"]).all()
    assert (cut[:11, 1:] == CIHP["face"]).all()


def test_labels_with_torso_skin_or_without_a_nose_stay_as_they_are() -> None:
    labels = np.full((60, 11), CIHP["face"], np.uint8)
    assert with_neck(labels, Joints({"neck": (5.0, 50.0)})) is labels
    labels[55, 3] = CIHP["torso_skin"]
    assert with_neck(labels, Joints({"nose": (5.0, 10.0), "neck": (5.0, 50.0)})) is labels
