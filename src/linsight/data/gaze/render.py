"""Pictures of eyes, analytic at every pixel: a sphere with an iris, lids, lashes, light and a glint."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from linsight.data.gaze.eye import DISTANCE, FIELD, EyeParameters
from linsight.ops import to_vector

__all__ = ["GREY", "Rendering", "iris_centre", "pixels", "render"]

_EDGE = 0.02  # radians: the iris and the pupil fade out over so much
_LID_EDGE = 0.35  # mm
_CORNEA = 7.8  # mm
_CHUNK = 16  # images whose maps stay in the cache
GREY = (0.299, 0.587, 0.114)
"""Of red, green and blue in a grey picture."""
_PINK, _DARK = (0.72, 0.42, 0.39), (0.05, 0.04, 0.04)
_SKIN_MAP, _PINK_MAP, _SCLERA_MAP, _IRIS_MAP, _WHITE_MAP, _DARK_MAP, _OPEN_MAP = range(7)


class Rendering(NamedTuple):
    """Images without noise, and what is seen in them."""

    image: Float[Tensor, "batch channels height width"]
    """In [0, 1]."""
    visible: Float[Tensor, "batch"]
    """The share of the iris's outline that is between the lids and within the image."""
    eye_mask: Bool[Tensor, "batch height width"]
    """Pixels of which at least half is between the lids."""


def render(
    eyes: EyeParameters,
    size: tuple[int, int] = (36, 60),
    *,
    channels: int = 1,
    supersample: int = 2,
    perspective: bool = False,
) -> Rendering:
    """Pictures of a batch of eyes.

    A point of the eyeball is iris where its angle from the optical axis is below asin(r_iris / r_eyeball).
    The eye and the skin are lit by Lambert's law, and the glint is the half vector's lobe on the cornea, a
    sphere of its own. The lids are two parabolas; the upper one follows the pitch of the eye in the head. All
    of it is linear in the colours, so coverages are computed on the fine grid, averaged, and then coloured.

    Args:
        eyes: What is to be seen.
        size: Height and width in pixels; the width is `FIELD` millimetres.
        channels: 1 for grey, 3 for colours.
        supersample: Samples along each side of a pixel.
        perspective: A pinhole `DISTANCE` mm away, in place of the weak perspective.

    Raises:
        ValueError: Sizes or supersampling below 1, or another number of channels.
    """
    if min(size) < 1:
        raise ValueError(f"size: expected height and width of at least 1, got {size}")
    if supersample < 1:
        raise ValueError(f"supersample: expected an integer of at least 1, got {supersample}")
    if channels not in (1, 3):
        raise ValueError(f"channels: expected 1 (grey) or 3 (colours), got {channels}")
    batch = len(eyes.iris)
    image = torch.zeros(batch, channels, *size)
    visible, mask = torch.zeros(batch), torch.zeros(batch, *size, dtype=torch.bool)
    for start in range(0, batch, _CHUNK):
        rows = slice(start, start + _CHUNK)
        part = EyeParameters(*(field[rows].float() for field in eyes))
        fine, visible[rows] = _maps(part, size, supersample, perspective)
        maps = F.avg_pool2d(fine, supersample) if supersample > 1 else fine
        mask[rows] = maps[:, _OPEN_MAP] >= 0.5
        colours = _colours(part, channels)
        found = colours @ maps[:, :_OPEN_MAP].flatten(2)
        image[rows] = found.unflatten(2, size).clamp_(0, 1)
    return Rendering(image, visible, mask)


def iris_centre(eyes: EyeParameters, perspective: bool = False) -> Float[Tensor, "batch 2"]:
    """Where the optical axis leaves the eyeball, in millimetres: centre + radius (x, y of the axis)."""
    axis = eyes.eyeball[:, None] * to_vector(eyes.optical)
    place = eyes.centre + axis[:, :2]
    return place * (DISTANCE / (DISTANCE + axis[:, 2:])) if perspective else place


def pixels(millimetres: Tensor, size: tuple[int, int]) -> Tensor:
    """Places (..., 2) in mm from the middle of the image as indices of pixel centres (x, y)."""
    height, width = size
    middle = millimetres.new_tensor([width, height]) / 2 - 0.5
    return millimetres * (width / FIELD) + middle


def _maps(eyes: EyeParameters, size: tuple[int, int], fine: int, perspective: bool) -> tuple[Tensor, Tensor]:
    """How much of each colour is where, (batch, 7, height * fine, width * fine), and the visible share."""
    height, width = size
    step = FIELD / (width * fine)
    # (1, 1, width) and (1, height, 1): what depends on one of them alone costs a line, not a picture.
    x = ((torch.arange(width * fine) + 0.5) * step - FIELD / 2)[None, None]
    y = ((torch.arange(height * fine) + 0.5) * step - height * FIELD / width / 2)[None, :, None]
    maps = x.new_zeros(len(eyes.iris), 7, height * fine, width * fine)
    point = _on_the_eyeball(eyes, x, y, perspective)
    lids = _lids(eyes, x)
    opened = ((y - lids.upper) / _LID_EDGE).clamp_(0, 1).mul_(((lids.lower - y) / _LID_EDGE).clamp_(0, 1))
    iris = _eyeball(eyes, x, y, point, lids, opened, maps)
    _surroundings(eyes, x, y, point, lids, opened, maps)
    maps[:, _OPEN_MAP] = opened
    ahead = -to_vector(eyes.optical)[:, 2]
    outline = math.pi * eyes.iris**2 * ahead
    visible = (iris * opened).sum((1, 2)) * step**2 / outline
    return maps, visible.clamp(0, 1)


class _Point(NamedTuple):
    """The eyeball's surface at each place, from its centre; z is 0 beside the eyeball."""

    x: Tensor
    y: Tensor
    z: Tensor
    square: Tensor
    """x^2 + y^2."""
    reach: Tensor
    """The length of (x, y, z): the radius, and more beside the eyeball."""


def _on_the_eyeball(eyes: EyeParameters, x: Tensor, y: Tensor, perspective: bool) -> _Point:
    across, down = _each(eyes.centre[:, 0]), _each(eyes.centre[:, 1])
    radius = _each(eyes.eyeball)
    if not perspective:
        here, there = x - across, y - down
        square = here**2 + there**2
        return _Point(
            here, there, (radius**2 - square).clamp_(min=0).sqrt_().neg_(), square, _reach(square, radius)
        )
    # The nearer point t (x, y, D) of the ray on the sphere around (across, down, D).
    long = x**2 + y**2 + DISTANCE**2
    along = x * across + y * down + DISTANCE**2
    depth = along**2 - long * (across**2 + down**2 + DISTANCE**2 - radius**2)
    t = (along - depth.clamp_(min=0).sqrt_()) / long
    here, there = t * x - across, t * y - down
    square = here**2 + there**2
    return _Point(
        here, there, torch.where(depth > 0, (t - 1) * DISTANCE, 0.0), square, _reach(square, radius)
    )


def _reach(square: Tensor, radius: Tensor) -> Tensor:
    return square.maximum(radius**2).sqrt_()


class _Lids(NamedTuple):
    """Lines over x, (batch, 1, width)."""

    upper: Tensor
    lower: Tensor
    crease: Tensor
    bag: Tensor
    within: Tensor
    """1 between the corners, fading to 0 outside."""
    corner: tuple[Tensor, Tensor]
    """Where the caruncle is, x and y: (batch, 1, 1)."""


def _lids(eyes: EyeParameters, x: Tensor) -> _Lids:
    half = _each(eyes.half_width * eyes.head[:, 1].cos())
    share = (x - _each(eyes.lid[:, 0])) / half
    aside = share * _each(eyes.nasal)
    parabola = (1 - share**2).clamp_(min=0) * (1 + _each(eyes.skew) * aside)
    base = _each(eyes.lid[:, 1]) + _each(eyes.tilt) * half * aside
    rise = eyes.eyeball * (eyes.optical[:, 0] - eyes.head[:, 0]).sin()
    up = (eyes.upper + 0.55 * rise).clamp(min=0.8)
    low = (eyes.lower - 0.22 * rise).clamp(min=0.8)
    # The lower lid stays; the upper one comes down to it.
    up = eyes.openness * up - (1 - eyes.openness) * low
    upper, lower = base - _each(up) * parabola, base + _each(low) * parabola
    bow = 1 - 0.6 * share**2
    return _Lids(
        upper,
        lower,
        upper - _each(eyes.crease) * bow,
        lower + 3.2 * bow,
        ((1.08 - share.abs()) * 6).clamp_(0, 1),
        (
            _each(eyes.lid[:, 0]) + _each(eyes.nasal) * (half - 1.3),
            _each(eyes.lid[:, 1]) + _each(eyes.tilt) * (half - 1.3) + 0.4,
        ),
    )


def _eyeball(
    eyes: EyeParameters, x: Tensor, y: Tensor, point: _Point, lids: _Lids, opened: Tensor, maps: Tensor
) -> Tensor:
    """Fill what is between the lids; return how much of each place is iris."""
    axis = to_vector(eyes.optical)
    chord = (2 - 2 * _along(point, axis) / point.reach).clamp_(min=0).sqrt_()
    limbus = _each(2 * (torch.asin(eyes.iris / eyes.eyeball) / 2).sin())
    iris = ((limbus - chord) / _EDGE + 0.5).clamp_(0, 1)
    pupil = ((_each(eyes.pupil) * limbus - chord) / _EDGE + 0.5).clamp_(0, 1)
    lambert = (_along(point, eyes.light) / point.reach).clamp_(min=0)
    ambient = _each(eyes.ambient)
    # The upper lid and its lashes throw a shadow.
    shade = ambient + (1 - ambient) * lambert
    shade *= 1 - 0.5 * _bump(y - lids.upper, 1.3)
    shade *= opened
    facing = point.z / -point.reach
    white = (1 - iris) * shade * (0.55 + 0.45 * facing)
    red = 0.55 * (1 - facing) ** 2
    glint = _glint(eyes, x, y, axis) * opened
    caruncle = _blob(x, y, *lids.corner, 1.9, 1.3)
    maps[:, _PINK_MAP] = white * red + (1 - red) * white * caruncle
    maps[:, _SCLERA_MAP] = white * (1 - red) * (1 - caruncle)
    maps[:, _IRIS_MAP] = iris * (1 - pupil) * shade * _texture(eyes, point, chord / limbus)
    maps[:, _DARK_MAP] = iris * pupil * shade
    maps[:, _WHITE_MAP] = glint
    return iris


def _texture(eyes: EyeParameters, point: _Point, depth: Tensor) -> Tensor:
    """Rays of two orders, lighter towards the pupil, and the dark ring of the limbus at depth 1."""
    pitch, yaw = eyes.optical.unbind(1)
    zero = torch.zeros_like(pitch)
    to_nose = -eyes.nasal[:, None] * torch.stack([-yaw.cos(), zero, yaw.sin()], 1)
    upwards = torch.stack([pitch.sin() * yaw.sin(), -pitch.cos(), pitch.sin() * yaw.cos()], 1)
    around = torch.atan2(_along(point, upwards), _along(point, to_nose))
    rays = 0.6 * (around * _each(eyes.orders[:, 0]) + _each(eyes.phases[:, 0])).cos_()
    rays += 0.4 * (around * _each(eyes.orders[:, 1]) + _each(eyes.phases[:, 1]) + 4 * depth).cos_()
    lit = 1.12 - 0.3 * depth + _each(eyes.contrast) * rays
    return lit.clamp_(min=0.1) * (1 - 0.65 * _bump(depth - 1, 0.13))


def _glint(eyes: EyeParameters, x: Tensor, y: Tensor, axis: Tensor) -> Tensor:
    """(n . h)^e on the cornea, which is exp(-e d^2 / (2 r^2)) at d mm from the lobe's middle."""
    half = eyes.light - torch.tensor([0.0, 0.0, 1.0])
    half = half / half.norm(dim=1, keepdim=True)
    # Both spheres hold the limbus.
    apart = (eyes.eyeball**2 - eyes.iris**2).sqrt() - (_CORNEA**2 - eyes.iris**2).sqrt()
    middle = eyes.centre + apart[:, None] * axis[:, :2] + _CORNEA * half[:, :2]
    width = _CORNEA * math.sqrt(2) / eyes.glint.sqrt()
    blob = _blob(x, y, _each(middle[:, 0]), _each(middle[:, 1]), _each(width), _each(width))
    return _each(eyes.glint_strength) * blob


def _surroundings(
    eyes: EyeParameters, x: Tensor, y: Tensor, point: _Point, lids: _Lids, opened: Tensor, maps: Tensor
) -> None:
    """Fill the skin around the eye, the rims of the lids and the lashes."""
    wide = 1.3 * _each(eyes.eyeball)
    bulge = (1 - point.square / wide**2).clamp_(min=0)
    light = [_each(part) for part in eyes.light.unbind(1)]
    # The lid over the eyeball is a bump; beyond it the face is nearly flat and turns with the head.
    lit = bulge * 1.3 * (light[0] * point.x / wide + light[1] * point.y / wide)
    lit += (light[0] * x + light[1] * y) / 70 - 0.9 * light[2]
    ambient = _each(eyes.ambient)
    skin = ambient + (1 - ambient) * lit.clamp_(min=0)
    skin *= 1 + 0.03 * _waves(eyes, x, y)
    skin *= 1 - 0.3 * _bump(y - lids.crease, 0.5) * lids.within
    skin *= 1 - 0.13 * _bump(y - lids.bag, 1.1) * lids.within
    skin *= 1 - opened
    rim = 0.55 * _bump(y - lids.lower - 0.35, 0.35) * lids.within
    lash = _each(eyes.lash) * lids.within
    upper = (lash * _bump(y - lids.upper + 0.2, 0.55) ** 2).clamp_(max=1)
    lower = 0.35 * lash * _bump(y - lids.lower - 0.6, 0.5) ** 2
    dark = 1 - (1 - upper) * (1 - lower)
    maps[:, _PINK_MAP] += rim * skin
    maps[:, _SKIN_MAP] = skin * (1 - rim)
    maps[:, :_DARK_MAP] *= (1 - dark)[:, None]
    maps[:, _DARK_MAP] += dark


def _waves(eyes: EyeParameters, x: Tensor, y: Tensor) -> Tensor:
    """The sum of cos(kx x' + ky y + phase), x' towards the nose, from lines by the addition theorem."""
    across = _each(eyes.nasal) * x * eyes.waves[:, :, :1] + eyes.wave_phases[:, :, None]
    down = y * eyes.waves[:, None, :, 1]
    return down.cos() @ across.cos() - down.sin() @ across.sin()


def _colours(eyes: EyeParameters, channels: int) -> Float[Tensor, "batch channels 6"]:
    pink = 0.45 * eyes.skin + 0.55 * eyes.skin.new_tensor(_PINK)
    white, dark = torch.ones_like(eyes.skin), eyes.skin.new_tensor(_DARK).expand_as(eyes.skin)
    colours = torch.stack([eyes.skin, pink, eyes.sclera, eyes.iris_colour, white, dark], dim=2)
    if channels == 3:
        return colours
    return eyes.skin.new_tensor(GREY)[None, None] @ colours


def _along(point: _Point, direction: Tensor) -> Tensor:
    """The inner product of the surface's place with a direction of each image."""
    x, y, z = (_each(part) for part in direction.unbind(1))
    return torch.addcmul(point.x * x + point.y * y, point.z, z)


def _blob(x: Tensor, y: Tensor, x0: Tensor, y0: Tensor, wide: Tensor | float, high: Tensor | float) -> Tensor:
    """exp(-((x - x0) / wide)^2 - ((y - y0) / high)^2), from two lines."""
    return (-(((x - x0) / wide) ** 2)).exp() * (-(((y - y0) / high) ** 2)).exp()


def _bump(distance: Tensor, width: float) -> Tensor:
    """1 at 0, a half at `width`: cheaper than a Gaussian."""
    return (1 + (distance / width) ** 2).reciprocal_()


def _each(values: Tensor) -> Tensor:
    """One number for each image, over its places."""
    return values[:, None, None]
