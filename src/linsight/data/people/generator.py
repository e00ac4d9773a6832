"""One person an image: crops for pose estimation, without end, with exact truth."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64, Integer, UInt8

from linsight.data import noise
from linsight.data.people.appearance import Clothes, Surroundings
from linsight.data.people.camera import Camera, framing
from linsight.data.people.capsules import capsules, rasterise
from linsight.data.people.labels import boxes_of, visibility
from linsight.data.people.population import (
    ANGLES,
    CLOTHES,
    SURROUNDINGS,
    angles_of,
    clothes_of,
    surroundings_of,
)
from linsight.data.people.render import Picture, check_image, picture
from linsight.data.people.rows import rows
from linsight.data.people.skeleton import JOINTS, Skeleton, rounded, skeleton
from linsight.data.splits import check_split

__all__ = ["People", "Portraits", "render"]

_MARGIN = 1.25  # what is seen over what the body spans, as in top-down crops
_AT_ONCE = 2**17  # samples that are shaded together: they fit into a processor's cache


class Portraits(NamedTuple):
    """Images of one person each, and all that is known of them."""

    image: UInt8[np.ndarray, "number 3 height width"]
    keypoints: Float64[np.ndarray, "number 17 2"]
    """x and y of `JOINTS` as indices of pixel centres, in the image or beyond it."""
    visibility: Int64[np.ndarray, "number 17"]
    """2 seen, 1 hidden, 0 beyond the image."""
    box: Float64[np.ndarray, "number 4"]
    """x1, y1, x2, y2 around `parts`, half-open in pixels."""
    parts: UInt8[np.ndarray, "number height width"]
    """Labels in `PARTS`, 0 where the background is."""
    depth: Float32[np.ndarray, "number height width"]
    """z in metres; infinity where the background is."""
    body: Skeleton
    """Where all is in metres, in the camera's axes: `body.places[:, :17]` are the joints."""
    camera: Camera
    clothes: Clothes
    surroundings: Surroundings


@dataclass(frozen=True)
class People:
    """Bodies of 14 capsules before smooth backgrounds, as crops about one person (our own; no published set).

    A body has joint angles of `angles_of`, and stands 2.5 to 6 m before the camera. The crop is the body's
    box, enlarged by 1.25 to the crop's shape, with a zoom of 0.8 to 1.25 and moved by up to a tenth
    of the sides: hands and feet may be beyond it. About a quarter of the joints are hidden.

    An item is a pure function of (the fields, seed, split, item), the same on every machine: angles become
    places rounded to a micrometre, from which all else follows in exactly rounded arithmetic.

    Args:
        size: Height and width of the images.
        samples: Rays along each side of a pixel.
        stripes: Stripe left sleeves and trouser legs. Without them only the face and the placket of the shirt
            tell which side is left, and a mirrored image is of a mirrored body, so that flips may augment.
        symmetric: Leave out all that tells left from right, which makes the task ambiguous on purpose.

    Cost: 14 capsules, each over its own box, then one pass over what was hit. Per body and core about 3 ms of
    64 x 48 and 6 ms of 128 x 96, at 2 x 2 samples.

    Raises ValueError for a size below 8 pixels, and samples outside 1 to 8.

    Example:
        >>> found = People().items("train", np.arange(2))
        >>> found.image.shape, found.keypoints.shape, found.visibility.shape
        ((2, 3, 64, 48), (2, 17, 2), (2, 17))
    """

    size: tuple[int, int] = (64, 48)
    samples: int = 2
    stripes: bool = True
    symmetric: bool = False

    def __post_init__(self) -> None:
        """Refuse what shows no body."""
        check_image(self.size, self.samples)

    @property
    def mirrors(self) -> bool:
        """Whether a mirrored image is one of these people, so that flips may augment and test."""
        return self.symmetric or not self.stripes

    def items(self, split: str, items: Integer[np.ndarray, "number"], *, seed: int = 0) -> Portraits:
        """These items.

        Raises ValueError for another split than "train", "valid" and "test", or a negative item.
        """
        check_split(split)
        key = noise.key(seed, f"people/{split}")
        numbers = noise.uniform(key, items, ANGLES + 6 + CLOTHES + SURROUNDINGS)
        angles, place, clothes, around = np.split(numbers, np.cumsum([ANGLES, 6, CLOTHES]), axis=1)
        body = skeleton(angles_of(angles)).at(_positions(place[:, :3]))
        slopes = capsules(body).extent()
        slopes = np.concatenate([slopes[..., :2].min(1), slopes[..., 2:].max(1)], 1)
        zoom = (0.8 + 0.45 * place[:, 3]) / _MARGIN
        camera = framing(slopes, self.size, zoom, 0.2 * place[:, 4:6] - 0.1)
        return render(
            body,
            camera,
            clothes_of(clothes),
            surroundings_of(around),
            self.size,
            samples=self.samples,
            stripes=self.stripes,
            symmetric=self.symmetric,
        )


def render(
    body: Skeleton,
    camera: Camera,
    clothes: Clothes,
    surroundings: Surroundings,
    size: tuple[int, int],
    *,
    samples: int = 2,
    stripes: bool = True,
    symmetric: bool = False,
) -> Portraits:
    """Bodies, each in an image of its own, with their labels: what `People` does with what it draws.

    Raises ValueError for a body that is not wholly before the camera.
    """
    pictures, seen = [], []
    number = max(_AT_ONCE // (size[0] * size[1] * samples**2), 1)
    for start in range(0, len(body.places), number):
        part = slice(start, start + number)
        one, lens = rows(body, part), rows(camera, part)
        surface = rasterise(capsules(one), lens, size, samples)
        pictures.append(
            picture(
                one,
                rows(clothes, part),
                rows(surroundings, part),
                lens,
                surface,
                samples,
                stripes=stripes,
                symmetric=symmetric,
            )
        )
        seen.append(visibility(one.places[:, : len(JOINTS)], lens, surface, samples))
    shown = Picture(*map(np.concatenate, zip(*pictures, strict=True)))
    return Portraits(
        image=shown.image,
        keypoints=camera.keypoints(body.places[:, : len(JOINTS)]),
        visibility=np.concatenate(seen),
        box=boxes_of(shown.parts > 0),
        parts=shown.parts,
        depth=shown.depth,
        body=body,
        camera=camera,
        clothes=clothes,
        surroundings=surroundings,
    )


def _positions(numbers: Float64[np.ndarray, "number 3"]) -> Float64[np.ndarray, "number 3"]:
    """2.5 to 6 m away, and up to a fifth of that to the side and a tenth above or below."""
    depth = 2.5 + 3.5 * numbers[:, 0]
    aside = depth * (0.4 * numbers[:, 1] - 0.2)
    down = depth * (0.2 * numbers[:, 2] - 0.1)
    return rounded(np.stack([aside, down, depth], 1))
