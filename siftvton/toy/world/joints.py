"""The joints of a drawn person, as a pose network would find them, also where clothes cover them."""

import numpy as np

from siftvton.prepare.joints import Joints
from siftvton.toy.world.body import SHOULDER_SHARE, body_of
from siftvton.toy.world.frame import SIDES, to_pixels
from siftvton.toy.world.legs import knee_of, legs_of
from siftvton.toy.world.persons import Person

HIP_HEIGHT = 0.88  # share of the torso's length from the neck to the crotch; the figure is widest there
HIP_ACROSS = 0.41  # distance of a hip from the torso's axis, in half shoulder widths
# Distance below the crotch and from the torso's axis, in half shoulder widths, as the trousers are drawn.
KNEE, ANKLE = (1.75, 0.47), (3.6, 0.45)
NOSE_TURN, NOSE_HEIGHT = 0.4, 0.28  # in half faces: how far its tip moves sideways as the head turns; its height


def joints_of(person: Person, size: tuple[int, int]) -> Joints:
    """Return the joints within a photo of ``size`` (height, width), in its pixels.

    A shoulder and an elbow are where the arm bends. The neck is the middle of the shoulders, as for pose networks.
    """
    body = body_of(person)
    torso, unit = body.torso, body.torso.unit
    places = {"nose": body.on_head(np.array((NOSE_TURN * person.head_turn, NOSE_HEIGHT)))}
    for name, side, arm, elbow in zip(("right", "left"), SIDES, body.arms, body.elbows, strict=True):
        centres, _, _ = arm.at(np.array((SHOULDER_SHARE * unit, elbow, arm.length)))
        places |= {f"{name}_{part}": place for part, place in zip(("shoulder", "elbow", "wrist"), centres, strict=True)}
        places[f"{name}_hip"] = torso.world(HIP_HEIGHT * torso.crotch, side * HIP_ACROSS * unit)
        for part, (below, across) in (("knee", KNEE), ("ankle", ANKLE)):
            places[f"{name}_{part}"] = torso.world(torso.crotch + below * unit, side * across * unit)
    if person.legs is not None:
        for name, leg in zip(("right", "left"), legs_of(person, torso), strict=True):
            centres, _, _ = leg.at(np.array((knee_of(torso), leg.length)))
            places |= {f"{name}_{part}": place for part, place in zip(("knee", "ankle"), centres, strict=True)}
    places["neck"] = (places["right_shoulder"] + places["left_shoulder"]) / 2
    height, width = size
    pixels = {name: to_pixels(place, height, width) for name, place in places.items()}
    return Joints(
        {name: (float(x), float(y)) for name, (x, y) in pixels.items() if 0 <= x <= width - 1 and 0 <= y <= height - 1}
    )
