"""The parameters of a person in a photo, and random draws of persons.

Lengths are *world pixels*: those of a picture of 512 × 384 pixels, x to the right and y down, whatever size is
rendered. Left and right are the person's own, so the right arm is at the left of the picture.
"""

from dataclasses import dataclass, replace

import numpy as np

from siftvton.draws import numpy_generator

Colour = tuple[int, int, int]  # RGB, 0..255

SPLITS = ("train", "test")
BACKGROUNDS = ("plain", "gradient", "textured")
HAIR_STYLES = ("short", "bob", "long", "bun")
FRAMINGS = ("hips", "whole")  # from the head to the hips, as in VITON-HD; from the head to the feet, as in DressCode
FEET_SHARE = 3.95  # how far the soles are below the crotch, in half shoulder widths

SKINS: tuple[Colour, ...] = (
    (244, 214, 193), (233, 194, 166), (222, 178, 146), (199, 149, 112), (168, 117, 83), (133, 88, 60), (98, 64, 45),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (38, 30, 28), (62, 42, 32), (92, 60, 40), (128, 86, 52), (176, 134, 86), (206, 172, 120), (140, 62, 38),
    (150, 148, 146),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = (
    (52, 66, 98), (84, 104, 138), (34, 36, 44), (24, 24, 28), (112, 98, 80), (150, 138, 118), (120, 42, 44),
    (70, 78, 66), (206, 200, 190),
)  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """Angles in degrees from straight down, positive away from the body."""

    upper_angle: float
    fore_angle: float


@dataclass(frozen=True)
class Leg:
    """Angles in degrees from straight down, positive away from the body."""

    thigh_angle: float
    shin_angle: float


@dataclass(frozen=True)
class Person:
    """The parameters of a person in a scene.

    Attributes:
        seed: seed for the fine random detail (strands of hair, folds, sensor noise).
        neck: where neck and shoulders meet, (x, y).
        shoulder: half the shoulders' width, the unit of every ``*_share``.
        torso_share: length of the torso from the neck to the crotch.
        chest_share, waist_share, hip_share: half widths.
        shoulder_drop_share: how much lower the shoulders are than the neck.
        lean: angle of the torso's axis in degrees, positive to the right of the picture.
        hip_shift: how far the hips move sideways, px.
        yaw: how far the chest is turned, as the share of its half width by which its middle moves.
        arms: the right arm and the left arm.
        left_arm_last: whether the left arm is in front where the arms cross.
        hair_in_front: whether hair falls over the right and over the left half of the chest.
        tucked: whether the trousers hide the garment's hem.
        light: strength of the shading, 0 for none.
        light_side: where the light comes from, -1 (picture's left) to 1.
        folds: how far folds of the worn garment shift its pixels, px.
        wrinkles: how dark the folds are, 0 for none.
        cast: factors on red, green and blue.
        noise: standard deviation of the sensor noise at 512 × 384, grey levels.
        blur: standard deviation of the camera's blur, world pixels.
        legs: the right leg and the left leg; None: the photo ends above the knees.
    """

    seed: int
    neck: tuple[float, float]
    shoulder: float
    torso_share: float
    chest_share: float
    waist_share: float
    hip_share: float
    shoulder_drop_share: float
    lean: float
    hip_shift: float
    yaw: float
    arms: tuple[Arm, Arm]
    left_arm_last: bool
    head_tilt: float
    head_turn: float
    skin: Colour
    hair: Colour
    hair_style: str
    hair_in_front: tuple[bool, bool]
    trousers: Colour
    tucked: bool
    background: str
    background_colours: tuple[Colour, Colour]
    light: float
    light_side: float
    folds: float
    wrinkles: float
    cast: tuple[float, float, float]
    noise: float
    blur: float
    legs: tuple[Leg, Leg] | None = None


def sample_person(seed: int, split: str, index: int, framing: str = "hips") -> Person:
    """Draw person ``index`` of a split; the draw depends on the split, so two splits have no person in common.

    Args:
        seed, split, index: name the person.
        framing: one of FRAMINGS. The same person is farther away in a photo from the head to the feet.
    """
    assert split in SPLITS, split
    assert framing in FRAMINGS, framing
    person = _sample_to_the_hips(seed, split, index)
    return person if framing == "hips" else _whole(person, numpy_generator(seed, split, index, "whole"))


def _whole(person: Person, draw: np.random.Generator) -> Person:
    """The person photographed from farther away, so that the feet are in the photo."""
    shoulder = draw.uniform(49, 56)
    scale = shoulder / person.shoulder
    return replace(
        person,
        neck=(192 + draw.normal(0, 7), 504 - draw.uniform(0, 12) - (person.torso_share + FEET_SHARE) * shoulder),
        shoulder=shoulder,
        hip_shift=scale * person.hip_shift,
        folds=scale * person.folds,
        legs=(_sample_leg(draw), _sample_leg(draw)),
    )


def _sample_leg(draw: np.random.Generator) -> Leg:
    pose = draw.choice(("straight", "apart", "bent", "crossed"), p=(0.55, 0.2, 0.17, 0.08))
    if pose == "straight":
        thigh = draw.uniform(-4, 2)
        return Leg(thigh, thigh + draw.uniform(-3, 2))
    if pose == "apart":
        thigh = draw.uniform(4, 10)
        return Leg(thigh, thigh - draw.uniform(0, 6))
    if pose == "bent":
        return Leg(draw.uniform(3, 9), -draw.uniform(4, 12))
    return Leg(-draw.uniform(4, 7), -draw.uniform(6, 11))


def _sample_to_the_hips(seed: int, split: str, index: int) -> Person:
    draw = numpy_generator(seed, split, index, "person")
    style = str(draw.choice(HAIR_STYLES, p=(0.25, 0.2, 0.35, 0.2)))
    background = str(draw.choice(BACKGROUNDS, p=(0.45, 0.3, 0.25)))
    return Person(
        seed=int(draw.integers(1 << 31)),
        neck=(192 + draw.normal(0, 7), 134 + draw.normal(0, 6)),
        shoulder=draw.uniform(84, 100),  # head to hips, shoulders half as wide as the picture, as in VITON-HD
        torso_share=draw.uniform(2.75, 3.0),
        chest_share=draw.uniform(0.74, 0.84),
        waist_share=draw.uniform(0.6, 0.76),
        hip_share=draw.uniform(0.76, 0.88),
        shoulder_drop_share=draw.uniform(0.14, 0.26),
        lean=draw.normal(0, 3.0),
        hip_shift=draw.normal(0, 5.0),
        yaw=float(np.clip(draw.normal(0, 0.1), -0.22, 0.22)),
        arms=(_sample_arm(draw), _sample_arm(draw)),
        left_arm_last=bool(draw.random() < 0.5),
        head_tilt=draw.normal(0, 4.0),
        head_turn=draw.uniform(-0.3, 0.3),
        skin=_near(draw, SKINS[draw.integers(len(SKINS))], 8),
        hair=_near(draw, HAIRS[draw.integers(len(HAIRS))], 8),
        hair_style=style,
        hair_in_front=_hair_in_front(draw, style),
        trousers=_near(draw, TROUSERS[draw.integers(len(TROUSERS))], 10),
        tucked=bool(draw.random() < 0.3),
        background=background,
        background_colours=_background_colours(draw, background),
        light=draw.uniform(0.5, 1.2),
        light_side=draw.uniform(-1, 1),
        folds=draw.uniform(3.5, 7.5),
        wrinkles=draw.uniform(0.5, 1.2),
        cast=_cast(draw),
        noise=draw.uniform(2.0, 4.5),
        blur=draw.uniform(0.4, 0.95),
    )


def _sample_arm(draw: np.random.Generator) -> Arm:
    pose = draw.choice(("down", "hip", "across", "pocket", "raised"), p=(0.5, 0.15, 0.15, 0.13, 0.07))
    if pose == "down":
        upper = draw.uniform(4, 20)
        return Arm(upper, upper + draw.uniform(-16, 8))
    if pose == "hip":
        upper = draw.uniform(34, 48)
        return Arm(upper, -draw.uniform(40, 62))
    if pose == "across":
        return Arm(draw.uniform(6, 20), -draw.uniform(72, 112))
    if pose == "pocket":
        return Arm(draw.uniform(16, 28), -draw.uniform(22, 38))
    return Arm(draw.uniform(16, 30), -draw.uniform(100, 120))


def _hair_in_front(draw: np.random.Generator, style: str) -> tuple[bool, bool]:
    right, left = draw.random(2) < 0.6
    return (bool(right), bool(left)) if style == "long" else (False, False)


def _near(draw: np.random.Generator, colour: Colour, spread: float) -> Colour:
    levels = np.array(colour) + draw.normal(0, spread) + draw.normal(0, 0.3 * spread, 3)
    red, green, blue = np.clip(np.round(levels), 0, 255).astype(int)
    return int(red), int(green), int(blue)


def _background_colours(draw: np.random.Generator, background: str) -> tuple[Colour, Colour]:
    grey = int(draw.integers(195, 246))
    if background == "plain":
        return _near(draw, (grey, grey, grey), 3), _near(draw, (grey - 14, grey - 14, grey - 14), 3)
    first, second = draw.integers(70, 235, (2, 3))
    first, second = (np.round(0.5 * c + 0.5 * c.mean()) for c in (first, second))  # muted, as walls are
    return _near(draw, tuple(first), 0), _near(draw, tuple(second), 0)


def _cast(draw: np.random.Generator) -> tuple[float, float, float]:
    exposure, warmth, tint = draw.normal(0.97, 0.06), draw.normal(0, 0.04), draw.normal(0, 0.015)
    return exposure * (1 + warmth), exposure * (1 + tint), exposure * (1 - warmth)
