"""A tube is an arm or a sleeve: a curve in the plane with a radius, and coordinates along and across it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tube:
    """A tube given by N samples. Lengths are world pixels.

    Attributes:
        centres: (N, 2) points of the curve.
        tangents, normals: (N, 2) unit vectors along and across the curve.
        lengths: (N,) distance from the first sample along the curve.
        radii: (N,) half the tube's width.
    """

    centres: np.ndarray
    tangents: np.ndarray
    normals: np.ndarray
    lengths: np.ndarray
    radii: np.ndarray

    @property
    def length(self) -> float:
        return float(self.lengths[-1])

    def coordinates(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert points (..., 2) to px along the tube, which continues straight beyond its ends, and px across it.

        Each sample has a plane perpendicular to the curve. The distance along the tube is interpolated between the
        planes of two samples by a point's distances from them, so that both coordinates are continuous in a bend.
        """
        nearest = np.zeros(points.shape[:-1], np.intp)
        best = np.full(points.shape[:-1], np.inf, np.float32)
        for index, (x, y) in enumerate(self.centres.astype(np.float32)):
            squared = (points[..., 0] - x) ** 2 + (points[..., 1] - y) ** 2
            closer = squared < best
            nearest[closer] = index
            np.minimum(best, squared, out=best)
        last = len(self.lengths) - 1
        ahead = self._ahead(points, nearest)
        first = np.clip(np.where(ahead < 0, nearest - 1, nearest), 0, last - 1)
        before, after = self._ahead(points, first), self._ahead(points, first + 1)
        step = self.lengths[first + 1] - self.lengths[first]
        share = before / np.where(before - after > 1e-3, before - after, step)
        beyond = ((nearest == 0) & (ahead < 0)) | ((nearest == last) & (ahead > 0))
        share = np.where(beyond, share, np.clip(share, 0, 1))
        along = self.lengths[first] + share * step
        centre, normal, _ = self.at(along)
        return along.astype(np.float32), ((points - centre) * normal).sum(-1).astype(np.float32)

    def _ahead(self, points: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Signed distance of each point from the plane perpendicular to the curve at sample ``index``."""
        return ((points - self.centres[index]) * self.tangents[index]).sum(-1)

    def at(self, along: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Centre, unit normal and radius at distances along the tube, which continues straight beyond its ends."""
        inside = np.clip(along, 0, self.length)
        values = np.concatenate((self.centres, self.tangents, self.normals, self.radii[:, None]), 1)
        columns = [np.interp(inside, self.lengths, column) for column in values.T]
        beyond = along - inside
        centre = np.stack((columns[0] + beyond * columns[2], columns[1] + beyond * columns[3]), -1)
        normal = np.stack(columns[4:6], -1)
        return centre, normal / np.linalg.norm(normal, axis=-1, keepdims=True), columns[6]


def tube_through(
    corners: np.ndarray, side: int, smoothing: float, radius_at: tuple[list[float], list[float]], samples: int = 56
) -> Tube:
    """Make a tube along a polyline with rounded corners.

    Args:
        corners: (K, 2) the polyline.
        side: 1: the normal is the tangent turned by +90° (x towards y); -1: turned by -90°.
        smoothing: standard deviation of the Gaussian that rounds the corners, px along the line.
        radius_at: shares of the tube's length, increasing from 0 to 1, and the radii there, px.
        samples: number of samples of the tube.
    """
    steps = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    lengths = np.concatenate(((0,), np.cumsum(steps)))
    fine = np.arange(-4 * smoothing, lengths[-1] + 4 * smoothing)
    line = np.stack([np.interp(fine, lengths, column) for column in corners.T], -1)
    for end, (near, far) in ((fine < 0, (0, 1)), (fine > lengths[-1], (-1, -2))):
        outward = (corners[near] - corners[far]) / np.linalg.norm(corners[near] - corners[far])
        beyond = np.abs(fine[end] - (0 if near == 0 else lengths[-1]))
        line[end] = corners[near] + beyond[:, None] * outward
    window = np.exp(-0.5 * (np.arange(-3 * smoothing, 3 * smoothing + 1) / smoothing) ** 2)
    line = np.stack([np.convolve(column, window / window.sum(), mode="same") for column in line.T], -1)
    inside = (fine >= 0) & (fine <= lengths[-1])
    line = line[inside]
    travelled = np.concatenate(((0,), np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))))
    chosen = np.linspace(0, travelled[-1], samples)
    centres = np.stack([np.interp(chosen, travelled, column) for column in line.T], -1)
    tangents = np.gradient(centres, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    normals = side * np.stack((-tangents[:, 1], tangents[:, 0]), -1)
    shares, radii = radius_at
    return Tube(centres, tangents, normals, chosen, np.interp(chosen / travelled[-1], shares, radii))
