"""The legs of a person who is photographed from the head to the feet: where they are, and bare legs with shoes."""

from dataclasses import replace

import numpy as np

from siftvton.draws import numpy_generator
from siftvton.toy.world import figure
from siftvton.toy.world.body import Torso
from siftvton.toy.world.frame import SIDES
from siftvton.toy.world.persons import Leg, Person
from siftvton.toy.world.prints import ellipse
from siftvton.toy.world.scene import LEGS, SHOES, Scene
from siftvton.toy.world.tube import Tube, tube_through

# Lengths in half shoulder widths.
THIGH_SHARE, SHIN_SHARE = 1.8, 1.85  # from the hip to the knee, from the knee to the ankle
CROTCH = 0.95  # share of the torso's length at which the legs begin to move
FEET = (6, 5)  # DensePose's parts; a pair is (right, left)
SHOE_COLOURS = ((28, 26, 28), (236, 234, 230), (108, 72, 48), (150, 40, 44), (66, 70, 84))


def legs_of(person: Person, torso: Torso) -> tuple[Tube, Tube]:
    """The right and the left leg, from the waist to the ankle. The normals of a hanging leg point at the other leg.

    Each leg includes its half of the hips, so that trousers can be sampled along it.
    """
    assert person.legs is not None, "the photo ends above the knees"
    right, left = (_leg(torso, leg, side) for leg, side in zip(person.legs, SIDES, strict=True))
    return right, left


def _leg(torso: Torso, leg: Leg, side: int) -> Tube:
    unit = torso.unit
    heights = np.array((torso.waist, CROTCH * torso.crotch))
    halves = torso.half_width(heights) / 2
    waist, hip = torso.world(heights, side * halves)

    def towards(degrees: float, length: float) -> np.ndarray:
        return length * np.array((side * np.sin(np.radians(degrees)), np.cos(np.radians(degrees))))

    knee = hip + towards(leg.thigh_angle, THIGH_SHARE * unit)
    ankle = knee + towards(leg.shin_angle, SHIN_SHARE * unit)
    rise = float(np.linalg.norm(hip - waist))
    whole = rise + (THIGH_SHARE + SHIN_SHARE) * unit
    places = np.array((0, rise, rise + 0.9 * unit, rise + THIGH_SHARE * unit, rise + 2.4 * unit, whole)) / whole
    radii = [*halves, 0.34 * unit, 0.22 * unit, 0.235 * unit, 0.125 * unit]
    return tube_through(np.stack((waist, hip, knee, ankle)), side, 0.12 * unit, (places.tolist(), radii))


def rise_of(torso: Torso) -> float:
    """Distance along a leg from the waist to the crotch, px."""
    return torso.crotch - torso.waist


def knee_of(torso: Torso) -> float:
    """Distance along a leg from the waist to the knee, px."""
    return CROTCH * torso.crotch - torso.waist + THIGH_SHARE * torso.unit


def over_the_legs(torso: Torso, legs: tuple[Tube, Tube]) -> Torso:
    """The torso with an outline that, below the crotch, contains both legs; a skirt or dress hangs on it."""
    below = np.arange(torso.crotch + 0.2 * torso.unit, torso.crotch + 3.6 * torso.unit, 0.2 * torso.unit)
    reach = np.zeros_like(below)
    for leg in legs:
        for edge in (-1, 1):
            along, across = torso.coordinates(leg.centres + edge * leg.radii[:, None] * leg.normals)
            reach = np.maximum(reach, np.interp(below, along, np.abs(across)))
    # A skirt spans the legs: it does not become narrower where they do.
    reach = np.maximum.accumulate(reach)
    return replace(
        torso,
        heights=np.concatenate((torso.heights, below)),
        half_widths=np.concatenate((torso.half_widths, reach)),
    )


def paint_bare_legs(scene: Scene, person: Person, torso: Torso, legs: tuple[Tube, Tube]) -> None:
    """Paint skin and shoes, and label them; clothes are painted over them."""
    draw = numpy_generator(person.seed, "shoes")
    colour = SHOE_COLOURS[draw.integers(len(SHOE_COLOURS))]
    for index, (leg, side) in enumerate(zip(legs, SIDES, strict=True)):
        window = scene.window(leg.centres, margin=float(leg.radii.max()) + 4)
        along, across = leg.coordinates(window.points)
        radius = np.interp(along, leg.lengths, leg.radii).astype(np.float32)
        t = np.clip(across / radius, -1, 1)
        light = 1 + person.light * (0.03 - 0.24 * np.abs(t) ** 3 - 0.1 * side * person.light_side * t)
        bare = np.clip(radius - np.abs(across) + 0.5, 0, 1) * np.clip(leg.length + 0.5 - along, 0, 1)
        bare *= along > 0
        scene.blend(window, np.array(person.skin, np.float32) * light[..., None], bare, LEGS[index])
        parts = np.where(along < knee_of(torso), figure.THIGHS[index], figure.SHINS[index])
        scene.densepose[window.rows, window.columns][bare > 0.5] = parts[bare > 0.5]
        sole = leg.centres[-1] + torso.unit * np.array((0.05 * side, 0.17))
        foot = ellipse(sole, (0.17 * torso.unit, 0.24 * torso.unit), -12 * side)
        scene.polygon(foot, colour, SHOES[index], FEET[index])
        scene.polygon(sole + (foot - sole) * (0.55, 0.4), figure.tinted(colour, 1.15))
