"""Paint everything in the photo except the garment: background, trousers, skin, head, hair and hands."""

import cv2
import numpy as np

from siftvton.draws import numpy_generator
from siftvton.toy.world.body import Body, Torso
from siftvton.toy.world.frame import SIDES
from siftvton.toy.world.persons import Colour, Person
from siftvton.toy.world.prints import ellipse
from siftvton.toy.world.scene import FACE, HAIR, LEFT_ARM, NECK, RIGHT_ARM, TROUSERS, Scene
from siftvton.toy.world.tube import Tube

# DensePose's parts; a pair is (right, left). The inner half of an arm faces the body.
TORSO, HANDS, THIGHS, SHINS, HEAD = 2, (3, 4), (9, 10), (13, 14), (23, 24)
UPPER_ARMS_INNER, UPPER_ARMS_OUTER, FORE_ARMS_INNER, FORE_ARMS_OUTER = (16, 15), (18, 17), (20, 19), (22, 21)
ARM_LABELS = (RIGHT_ARM, LEFT_ARM)


def tinted(colour: Colour, factor: float) -> tuple[int, ...]:
    return tuple(int(min(255, level * factor)) for level in colour)


def paint_background(scene: Scene, person: Person) -> None:
    """Paint a wall: plain with a soft vignette, a gradient between two colours, or a random pattern."""
    height, width = scene.size
    draw = numpy_generator(person.seed, "background")
    first, second = (np.array(colour, np.float32) for colour in person.background_colours)
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    if person.background == "plain":
        mix = np.clip(0.6 * (x - 0.5 * person.light_side) ** 2 + 0.4 * y**2, 0, 1)
    elif person.background == "gradient":
        turn = draw.uniform(0, 2 * np.pi)
        mix = np.clip(0.5 + 0.5 * (np.cos(turn) * x + np.sin(turn) * y), 0, 1)
    else:
        coarse = draw.uniform(0, 1, [int(n) for n in draw.integers(4, 24, 2)]).astype(np.float32)
        how = cv2.INTER_CUBIC if draw.random() < 0.6 else cv2.INTER_NEAREST  # clouds or tiles
        mix = np.clip(cv2.resize(coarse, (width, height), interpolation=how), 0, 1)
    scene.photo[:] = first + mix[..., None] * (second - first) + 0.5


def paint_trousers(scene: Scene, person: Person, torso: Torso) -> None:
    """Paint the two legs with their seams, and the waistband."""
    unit, waist, crotch = torso.unit, torso.waist, torso.crotch
    hips = np.linspace(waist, crotch, 10)
    for side in SIDES:
        outer = torso.world(hips, side * (torso.half_width(hips) + 1.5))
        knee = torso.world(crotch + 1.75 * unit, side * np.array((0.82, 0.12)) * unit)
        foot = torso.world(crotch + 3.6 * unit, side * np.array((0.74, 0.16)) * unit)
        inner = torso.world(np.array((crotch, waist)), np.array((side * 0.01 * unit, -side * 0.02 * unit)))
        leg = np.concatenate((outer, knee[:1], foot[:1], foot[1:], knee[1:], inner))
        scene.polygon(leg, tinted(person.trousers, 1 + 0.06 * side * person.light_side), TROUSERS)
        scene.line(
            np.concatenate((outer, knee[:1], foot[:1])) - side * np.array((3.0, 0)), tinted(person.trousers, 0.82), 1
        )
        pocket = torso.world(np.array((waist + 9, waist + 0.42 * unit)), side * np.array((0.42, 0.72)) * unit)
        scene.line(pocket, tinted(person.trousers, 0.72), 1.4)
    for below in (0.0, 9.0):
        across = torso.half_width(np.array(waist)) * np.array((-1, 1))
        scene.line(torso.world(waist + below, across), tinted(person.trousers, 0.75), 1.4)
    scene.line(torso.world(np.array((waist, crotch)), 0), tinted(person.trousers, 0.7), 1.4)


def label_legs_and_torso(scene: Scene, torso: Torso) -> None:
    """Label the parts of the body under trousers and garment with DensePose's numbers."""
    unit, crotch = torso.unit, torso.crotch
    for index, side in enumerate(SIDES):
        for part, (start, end), (wide, narrow) in (
            (SHINS[index], (1.7, 3.6), (0.52, 0.44)),
            (THIGHS[index], (-0.42, 1.75), (0.8, 0.56)),
        ):
            top, bottom = crotch + start * unit, crotch + end * unit
            inner = 0.03 if part in THIGHS else 0.16
            across = side * unit * np.array((inner, wide, narrow, 0.17))
            scene.label_body(torso.world(np.array((top, top, bottom, bottom)), across), part)
    scene.label_body(torso_outline(torso), TORSO)


def torso_outline(torso: Torso) -> np.ndarray:
    """(N, 2) outline of the body's torso, from the neck to the groin."""
    unit = torso.unit
    along = np.concatenate(((0.02 * unit,), np.linspace(torso.drop, torso.crotch - 0.35 * unit, 16), (torso.crotch,)))
    across = torso.half_width(along) - 1
    across[0], across[-1] = 0.3 * unit, 0.05 * unit
    return np.concatenate((torso.world(along, across), torso.world(along, -across)[::-1]))


def paint_torso_and_neck(scene: Scene, person: Person, body: Body) -> None:
    """Paint the skin that a garment may leave bare."""
    torso, unit = body.torso, body.torso.unit
    scene.polygon(torso_outline(torso), person.skin, NECK)
    base = torso.world(np.array((-0.02, 0.06, 0.06, -0.02)) * unit, np.array((-0.28, -0.42, 0.42, 0.28)) * unit)
    chin = body.on_head(np.array(((0.66, 0.45), (-0.66, 0.45))))
    scene.polygon(np.concatenate((base, chin)), tinted(person.skin, 0.9), NECK)
    throat = body.on_head(np.array(((-0.62, 0.8), (0.62, 0.8), (0.3, 1.3), (-0.3, 1.3))))
    scene.polygon(throat, tinted(person.skin, 0.78))
    for side in SIDES:  # collar bones
        bone = torso.world(np.array((0.16, 0.1)) * unit, side * np.array((0.12, 0.52)) * unit)
        scene.line(bone, tinted(person.skin, 0.85), 1.5)


def arm_parts(index: int, inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DensePose's parts of the upper arm and of the forearm at each pixel.

    Args:
        index: 0 for the right arm, 1 for the left arm.
        inner: whether a pixel is on the half of the arm that faces the body.
    """
    upper = np.where(inner, UPPER_ARMS_INNER[index], UPPER_ARMS_OUTER[index])
    return upper, np.where(inner, FORE_ARMS_INNER[index], FORE_ARMS_OUTER[index])


def hand_shapes(arm: Tube, unit: float, side: int) -> list[np.ndarray]:
    """Polygons of palm, fingers and thumb, beyond the wrist; the palm is the first."""
    (wrist,), (normal,), (radius,) = arm.at(np.array((arm.length,)))
    along = arm.tangents[-1]
    degrees = np.degrees(np.arctan2(along[1], along[0]))
    palm = ellipse(wrist + 0.13 * unit * along, (0.2 * unit, 1.12 * radius), degrees)
    shapes = [palm]
    for offset, reach in ((-0.66, 0.31), (-0.22, 0.35), (0.22, 0.34), (0.66, 0.28)):
        middle = wrist + (0.24 + 0.25 * reach) * unit * along + offset * radius * normal
        shapes.append(ellipse(middle, (0.5 * reach * unit, 0.27 * radius), degrees + 5 * side * offset, 20))
    thumb = wrist + 0.15 * unit * along + 1.05 * radius * normal
    shapes.append(ellipse(thumb, (0.15 * unit, 0.3 * radius), degrees + side * 24, 20))
    return shapes


def paint_hand(scene: Scene, person: Person, arm: Tube, unit: float, index: int) -> None:
    palm, *fingers = hand_shapes(arm, unit, SIDES[index])
    for finger in fingers:
        scene.polygon(finger, tinted(person.skin, 0.78), ARM_LABELS[index], HANDS[index])
        middle = finger.mean(0)
        scene.polygon(middle + 0.84 * (finger - middle), tinted(person.skin, 0.97))
    scene.polygon(palm, tinted(person.skin, 0.95), ARM_LABELS[index], HANDS[index])


def paint_hair_behind(scene: Scene, person: Person, body: Body) -> None:
    """Paint the hair behind neck and shoulders."""
    dark = tinted(person.hair, 0.8)
    low = {"short": 0.35, "bun": 0.35, "bob": 1.12, "long": 2.1}[person.hair_style]
    wide = {"short": 1.14, "bun": 1.12, "bob": 1.42, "long": 1.5}[person.hair_style]
    crown = _arc(wide, 1.24, -0.1)
    down = np.array(((wide, 0.5 * low), (0.9 * wide, low), (-0.9 * wide, low), (-wide, 0.5 * low)))
    scene.polygon(body.on_head(np.concatenate((crown, down))), dark, HAIR)
    if person.hair_style == "bun":
        scene.polygon(body.on_head(ellipse((0.15, -1.42), (0.5, 0.36))), dark, HAIR)


def _arc(wide: float, high: float, low: float) -> np.ndarray:
    """(N, 2) an arch over the head, from the picture's left to its right, in half faces."""
    angle = np.linspace(np.pi, 2 * np.pi, 25)
    return np.stack((wide * np.cos(angle), low + (high + low) * np.sin(angle)), -1)


def paint_head(scene: Scene, person: Person, body: Body) -> None:
    """Paint the face, its features and the hair around it."""
    skin, turn = person.skin, person.head_turn
    for side in SIDES:
        ear = body.on_head(ellipse((side * (1.0 - 0.1 * side * turn), 0.08), (0.13, 0.2)))
        scene.polygon(ear, tinted(skin, 0.88), FACE, HEAD[int(side > 0)])
    face = _face_outline()
    scene.polygon(body.on_head(face), skin, FACE)
    for index, half in enumerate((face[:, 0] <= 0.02, face[:, 0] >= -0.02)):
        scene.label_body(body.on_head(face[half]), HEAD[index])
    for side in SIDES:
        x = 0.42 * side + 0.3 * turn
        scene.polygon(body.on_head(ellipse((x, -0.04), (0.19, 0.085))), (246, 244, 240))
        scene.polygon(body.on_head(ellipse((x + 0.1 * turn, -0.04), (0.09, 0.085))), (60, 44, 36))
        scene.line(body.on_head(((x - 0.22, -0.05), (x, -0.13), (x + 0.22, -0.05))), tinted(person.hair, 0.6), 1)
        scene.line(body.on_head(((x - 0.24, -0.26), (x, -0.33), (x + 0.24, -0.27))), tinted(person.hair, 0.8), 2)
        cheek = body.on_head(ellipse((0.5 * side + 0.2 * turn, 0.32), (0.2, 0.12)))
        scene.polygon(cheek, (min(255, skin[0] + 6), int(skin[1] * 0.94), int(skin[2] * 0.94)))
    nose = ((0.34 * turn, 0.0), (0.46 * turn + 0.06, 0.26), (0.4 * turn - 0.08, 0.3))
    scene.line(body.on_head(nose), tinted(skin, 0.78), 1.4)
    scene.polygon(
        body.on_head(ellipse((0.32 * turn, 0.56), (0.27, 0.085))),
        (int(skin[0] * 0.8), int(skin[1] * 0.55), int(skin[2] * 0.55)),
    )
    scene.line(body.on_head(((0.32 * turn - 0.25, 0.555), (0.32 * turn + 0.25, 0.555))), tinted(skin, 0.5), 1)
    _paint_fringe(scene, person, body)


def _face_outline() -> np.ndarray:
    """(N, 2) outline of the face in half faces: round at the top, narrower at the chin."""
    angle = np.linspace(0.5 * np.pi, 2.5 * np.pi, 61)
    x, y = np.cos(angle), np.sin(angle)
    return np.stack((x * (1 - 0.22 * np.clip(y, 0, 1) ** 2), y), -1)


def _paint_fringe(scene: Scene, person: Person, body: Body) -> None:
    draw = numpy_generator(person.seed, "hair")
    part = draw.uniform(-0.5, 0.5)
    down = {"short": 0.0, "bun": -0.1}.get(person.hair_style, 0.4)
    outer = np.concatenate((((-1.1, down),), _arc(1.14, 1.24, -0.1), ((1.1, down),)))
    x = np.linspace(0.92, -0.92, 21)
    hairline = np.stack((x, -0.78 + 0.62 * np.abs((x - part) / (1 + np.abs(part))) ** 1.6), -1)
    inner = np.concatenate((((0.96, down),), hairline, ((-0.96, down),)))
    scene.polygon(body.on_head(np.concatenate((outer, inner))), person.hair, HAIR, None)
    for strand in np.linspace(-0.95, 0.95, 15):
        root = np.array((part, -0.98))
        curve = root + (np.array((strand * 1.06, -0.62 + 0.5 * abs(strand))) - root) * np.linspace(0, 1, 5)[:, None]
        curve[:, 1] -= 0.26 * np.sin(np.pi * np.linspace(0, 1, 5))
        scene.line(body.on_head(curve), tinted(person.hair, draw.uniform(0.8, 1.3)), 1)


def paint_hair_in_front(scene: Scene, person: Person, body: Body) -> None:
    """Paint locks of hair that fall over the chest and hide part of the garment."""
    draw = numpy_generator(person.seed, "locks")
    for side, falls in zip(SIDES, person.hair_in_front, strict=True):
        if not falls:
            continue
        end, wave = draw.uniform(2.6, 3.8), draw.uniform(0.04, 0.14)
        y = np.linspace(-0.5, end, 22)
        share = np.linspace(0, 1, 22)
        middle = 1.05 + 0.28 * np.sin(np.pi * share) + wave * np.sin(share * draw.uniform(8, 14))
        reach = 0.16 + 0.32 * np.sin(np.pi * np.clip(share * 0.8 + 0.12, 0, 1))
        lock = np.concatenate((np.stack((middle + reach, y), -1), np.stack((middle - reach, y), -1)[::-1])) * (side, 1)
        scene.polygon(body.on_head(lock), person.hair, HAIR)
        for strand in np.linspace(-0.8, 0.8, 7):
            line = np.stack((middle + strand * reach, y), -1) * (side, 1)
            scene.line(body.on_head(line), tinted(person.hair, draw.uniform(0.75, 1.3)), 1)
