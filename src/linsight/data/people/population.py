"""Which bodies, clothes and surroundings there are: distributions, of uniform numbers."""

from statistics import NormalDist

import numpy as np
from jaxtyping import Float64

from linsight.data.people.appearance import Clothes, Surroundings
from linsight.data.people.skeleton import Angles, rounded

__all__ = ["ANGLES", "CLOTHES", "SURROUNDINGS", "angles_of", "clothes_of", "surroundings_of"]

ANGLES, CLOTHES = 20, 9
"""How many uniform numbers a body's angles and its clothes are made of."""

_COARSE, _FINE = (3, 3), (7, 6)
SURROUNDINGS = 3 + 3 * (3 * 3 + 7 * 6)
"""Those of an image's light and background."""

_SKINS = np.array([[0.33, 0.2, 0.13], [0.95, 0.78, 0.66]], np.float32)
# Hair is dark or bright, and so seldom of the colour of the skin.
_DARK_HAIR = np.float32(0.7)
_HAIRS = np.array([[0.07, 0.06, 0.05], [0.78, 0.62, 0.36]], np.float32)


_quantiles = np.vectorize(NormalDist().inv_cdf, otypes=[float])


def angles_of(numbers: Float64[np.ndarray, "bodies 20"]) -> Angles:
    """Bodies that stand, walk, sit, reach and turn, seen from all sides; N(0, s) has standard deviation s.

    Scale U(0.9, 1.1); yaw uniform, pitch N(0, 0.2), roll N(0, 0.15); trunk bend N(0, 0.25), twist N(0, 0.3);
    head N(0, 0.4), N(0, 0.2); hip swing U(-1.4, 0.5), spread N(0.1, 0.25); knee U(0, 1.6); shoulder swing
    U(-1.3, 1.3), lift U(-2.6, 0.2); elbow U(0, 2.3).
    """
    u = numbers.T
    sides = [
        np.stack([_uniform(u[first + side], *limits) for side in (0, 1)], 1)
        for first, limits in (
            (8, (-1.4, 0.5)),
            (12, (0.0, 1.6)),
            (14, (-1.3, 1.3)),
            (16, (-2.6, 0.2)),
            (18, (0.0, 2.3)),
        )
    ]
    spread = np.stack([0.1 + _normal(u[number], 0.25) for number in (10, 11)], 1)
    return Angles(
        scale=_uniform(u[0], 0.9, 1.1),
        turn=np.stack([_uniform(u[1], -np.pi, np.pi), _normal(u[2], 0.2), _normal(u[3], 0.15)], 1),
        trunk=np.stack([_normal(u[4], 0.25), _normal(u[5], 0.3)], 1),
        head=np.stack([_normal(u[6], 0.4), _normal(u[7], 0.2)], 1),
        hip=np.stack([sides[0], spread], 2),
        knee=sides[1],
        shoulder=np.stack([sides[2], sides[3]], 2),
        elbow=sides[4],
    )


def clothes_of(numbers: Float64[np.ndarray, "bodies 9"]) -> Clothes:
    """Shirts and trousers of any colour, skin and hair from dark to bright, dark shoes."""
    u = numbers.astype(np.float32)
    return Clothes(
        skin=_mixed(_SKINS, u[:, 0]),
        hair=_mixed(_HAIRS, np.where(u[:, 1] < _DARK_HAIR, np.float32(0.2), 1) * u[:, 1]),
        shirt=np.float32(0.08) + np.float32(0.87) * u[:, 2:5],
        trousers=np.float32(0.08) + np.float32(0.72) * u[:, 5:8],
        shoes=np.repeat(np.float32(0.05) + np.float32(0.25) * u[:, 8:], 3, 1),
    )


def surroundings_of(numbers: Float64[np.ndarray, "images 156"]) -> Surroundings:
    """A light from the camera's side, up to 70 degrees to the left or right and 0 to 70 up; any colours."""
    azimuth, elevation = _uniform(numbers[:, 0], -1.22, 1.22), _uniform(numbers[:, 1], 0.0, 1.22)
    light = np.stack(
        [np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), -np.cos(azimuth) * np.cos(elevation)], 1
    )
    u = numbers.astype(np.float32)
    coarse, fine = np.split(u[:, 3:], [3 * _COARSE[0] * _COARSE[1]], 1)
    return Surroundings(
        light=rounded(light).astype(np.float32),
        ambient=np.float32(0.4) + np.float32(0.25) * u[:, 2],
        coarse=np.float32(0.1) + np.float32(0.8) * coarse.reshape(-1, 3, *_COARSE),
        fine=fine.reshape(-1, 3, *_FINE),
    )


def _uniform(u: Float64[np.ndarray, "number"], least: float, most: float) -> Float64[np.ndarray, "number"]:
    return least + (most - least) * u


def _normal(u: Float64[np.ndarray, "number"], deviation: float) -> Float64[np.ndarray, "number"]:
    # u is a multiple of 2^-53 that may be 0, of which the half is not.
    return deviation * _quantiles(np.maximum(u, 2.0**-54))


def _mixed(ends: np.ndarray, share: np.ndarray) -> np.ndarray:
    return ends[0] + (ends[1] - ends[0]) * share[:, None]
