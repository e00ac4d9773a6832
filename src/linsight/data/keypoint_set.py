"""People, or other things with keypoints, annotated in COCO's format: read, cropped, and answered."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Integer, UInt8
from torch import Tensor

from linsight.data.annotations.coco import read_coco
from linsight.data.annotations.files import refusal
from linsight.data.annotations.tables import Detections, GroundTruth
from linsight.data.crops import PADDING, crop_images, top_down
from linsight.data.geometry import Augmentation, Warp
from linsight.data.keypoints import flip_pairs

__all__ = ["Instances", "KeypointSet", "read_keypoints", "read_picture"]


class Instances(NamedTuple):
    """Crops about annotated instances; B of them with K keypoints."""

    image: UInt8[Tensor, "B 3 height width"]
    keypoints: Float64[Tensor, "B K 2"]
    """x and y in the crop as indices of pixel centres; where the visibility is 0 they mean nothing."""
    visibility: Int64[Tensor, "B K"]
    """2 seen, 1 hidden, 0 not labelled or beyond the crop."""
    warp: Warp
    """From the image to the crop; its inverse takes what is found back."""


@dataclass(frozen=True, eq=False)
class KeypointSet:
    """The instances of an annotation file that crops are made of, one after another.

    COCO's coordinates are taken as they are written: the keypoint (3, 5) is at the centre of the pixel in
    column 3 and row 5. (Those of boxes are edges between pixels.) A visibility of 0 means that a keypoint is
    not labelled, whatever its x and y.
    """

    truth: GroundTruth
    """The whole file, for evaluation."""
    keypoints: Float64[np.ndarray, "G K 3"]
    """Those of the whole file."""
    folder: Path
    """Where the images are."""
    rows: Int64[np.ndarray, "instances"]
    """Which annotations of the file the instances are."""
    places: Int64[np.ndarray, "instances"]
    """Which of the file's images each is in."""
    pairs: tuple[tuple[int, int], ...]
    """(left, right) keypoints, by their names; none where the file has no names."""

    def __len__(self) -> int:
        """The number of instances."""
        return len(self.rows)

    @property
    def annotation_ids(self) -> Int64[np.ndarray, "instances"]:
        """The id of each instance in the file."""
        return self.truth.annotation_id[self.rows]

    def crops(
        self,
        indices: Integer[np.ndarray, "B"],
        size: tuple[int, int],
        *,
        padding: float = PADDING,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        epoch: int = 0,
    ) -> Instances:
        """The crops about these instances.

        Args:
            indices: Of instances, from 0 on.
            size: Height and width of the crops.
            padding: How much larger than the box a crop is.
            augmentation: Flips, turns, scales and shifts of each crop, drawn from (seed, epoch, index).
            seed, epoch: For the augmentation.

        Raises:
            FileNotFoundError: An image is not there any more.
            ImportError: Pillow is not installed.
            ValueError: A flip of keypoints without names; a picture that cannot be read, or of another size
                than the file says.
        """
        if augmentation is not None and augmentation.flip > 0 and not self.truth.keypoint_names:
            raise ValueError("augmentation: expected no flips (flip=0), since the keypoints have no names")
        rows = self.rows[indices]
        images = [self._image(place) for place in self.places[indices].tolist()]
        canvas = (max(image.shape[1] for image in images), max(image.shape[2] for image in images))
        warp = top_down(torch.from_numpy(self.truth.xyxy()[rows]), canvas, size, padding)
        if augmentation is not None:
            warp = warp.then(augmentation.draw(indices, size, seed=seed, epoch=epoch))
        joints = torch.from_numpy(self.keypoints[rows])
        places = warp.keypoints(joints[..., :2], self.pairs)
        visibility = warp.exchange(joints[..., 2].long(), self.pairs)
        visibility = visibility.where(warp.inside(places), torch.zeros_like(visibility))
        return Instances(crop_images(images, warp), places, visibility, warp)

    def results(
        self,
        indices: Integer[np.ndarray, "D"],
        keypoints: Float[Tensor, "D K 2"],
        keypoint_scores: Float[Tensor, "D K"],
        scores: Float[Tensor, "D"],
    ) -> Detections:
        """What was found for these instances as COCO's results, which `write_coco_results` makes a file of.

        Args:
            indices: Of instances; the boxes are theirs.
            keypoints: In their images: `warp.inverse().keypoints(found, pairs)`.
            keypoint_scores: The third number of each keypoint.
            scores: Of each detection, by which they are ranked.

        Raises ValueError for another number of keypoints than the file has.
        """
        if keypoints.shape[1] != self.keypoints.shape[1]:
            raise ValueError(
                f"keypoints: expected {self.keypoints.shape[1]} of each instance, got {keypoints.shape[1]}"
            )
        rows = self.rows[indices]
        joints = torch.cat([keypoints, keypoint_scores[..., None]], -1)
        return Detections(
            image_id=self.truth.image_id[rows],
            category_id=self.truth.category_id[rows],
            box=self.truth.box[rows],
            box_format=self.truth.box_format,
            score=scores.detach().double().numpy(),
            keypoints=joints.detach().double().numpy(),
        )

    def _image(self, place: int) -> UInt8[Tensor, "3 height width"]:
        path = self.folder / self.truth.image_names[place]
        if not path.is_file():
            raise _missing(self.truth.image_ids[place], path)
        image = read_picture(path)
        size, stated = tuple(image.shape[1:]), tuple(self.truth.image_sizes[place].tolist())
        if stated != (0, 0) and size != stated:
            raise refusal(path, "", f"expected {stated} pixels, as the annotations say, got {size}")
        return image


def read_keypoints(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    joints: int | None = None,
    training: bool = True,
) -> KeypointSet:
    """The instances of a COCO keypoints file (Lin et al. 2014, arXiv 1405.0312).

    Crowds are never instances. In training, annotations without a labelled keypoint are left out too; in
    evaluation they stay, and answers keep the ids of the file.

    Args:
        path: The annotations, a file that `annotations.read_coco` reads.
        folder: Where the images are whose names are in it.
        joints: How many keypoints an instance must have; None takes what the file has.
        training: Leave out what nothing can be learnt from.

    Raises:
        FileNotFoundError: No such file, or no image with the name that the file gives it; its id is named.
        ValueError: What `read_coco` refuses; no keypoints, or another number of them; a box without area, an
            image without a name; names of keypoints of which one side is missing.
    """
    truth = read_coco(path)
    if truth.keypoints is None or truth.num_keypoints is None:
        raise refusal(path, "annotations", "expected keypoints, got none")
    if joints is not None and truth.keypoints.shape[1] != joints:
        raise refusal(
            path,
            "annotations",
            f"keypoints: expected {joints}, as the head has, got {truth.keypoints.shape[1]}",
        )
    kept = ~truth.crowd
    if training:
        kept &= (truth.num_keypoints > 0) & (truth.keypoints[..., 2] > 0).any(1)
    rows = np.flatnonzero(kept)
    empty = rows[~(truth.box[rows, 2:] > 0).all(1)]
    if len(empty):
        raise refusal(
            path,
            f"annotations[{empty[0]}]",
            f"id {truth.annotation_id[empty[0]]}: bbox: expected a width and a height above 0, got "
            f"{truth.box[empty[0]].tolist()}",
        )
    order = np.argsort(truth.image_ids, kind="stable")
    places = order[np.searchsorted(truth.image_ids[order], truth.image_id[rows])]
    for place in np.unique(places).tolist():
        if not truth.image_names[place]:
            raise refusal(
                path, f"images[{place}]", f"id {truth.image_ids[place]}: expected a file_name, got none"
            )
        if not (Path(folder) / truth.image_names[place]).is_file():
            raise _missing(truth.image_ids[place], Path(folder) / truth.image_names[place])
    pairs = flip_pairs(truth.keypoint_names)
    return KeypointSet(truth, truth.keypoints, Path(folder), rows, places, pairs)


def read_picture(path: str | os.PathLike[str]) -> UInt8[Tensor, "3 height width"]:
    """A picture as red, green and blue. Needs pillow.

    Raises FileNotFoundError without the file, ImportError without pillow, ValueError for what is no picture.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise ImportError("pictures are read by pillow: pip install 'linsight[compress]'") from None
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such picture")
    try:
        with Image.open(path) as picture:
            pixels = np.array(picture.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise refusal(path, "", f"cannot be read as a picture ({error})") from None
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _missing(identity: object, path: Path) -> FileNotFoundError:
    return FileNotFoundError(f"{path}: there is no picture of image {identity}")
