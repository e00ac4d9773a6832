"""Objects as points: maps of where centres are, and the focal loss that is lenient around them."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from linsight.losses.by_image import mean_of_images
from linsight.ops import accumulator_dtype, box_area

__all__ = ["CentreTargets", "centre_class_loss", "centre_focal_loss", "centre_targets"]

_SPREAD = 0.54 / 6
_LEAST = 0.1


class CentreTargets(NamedTuple):
    """What the maps of a detector of centres should say of a batch of images."""

    heat: Float[Tensor, "batch classes rows columns"]
    """1 at the cell of each centre, falling off around it; 0 far from all objects of the class."""
    boxes: Float[Tensor, "batch rows columns 4"]
    """The box of the object whose bell is highest at the cell, xyxy in pixels."""
    labels: Int64[Tensor, "batch rows columns"]
    """The class of that object, 0 where there is none."""
    weight: Float[Tensor, "batch rows columns"]
    """How much box and class count there: over its cells, the weights of each object sum to 1."""
    ignored: Bool[Tensor, "batch rows columns"]
    """Cells whose middle is inside a crowd: what is found there is neither right nor wrong."""


@torch.no_grad()
def centre_targets(
    boxes: Float[Tensor, "batch objects 4"],
    labels: Int64[Tensor, "batch objects"],
    *,
    classes: int,
    grid: tuple[int, int],
    stride: int,
    crowd: Bool[Tensor, "batch objects"] | None = None,
) -> CentreTargets:
    """The targets of every cell of a grid.

    Around the cell (i, j) of an object's centre, floor(centre / stride), its bell at cell (r, c) is

        exp(-(r - i)^2 / (2 s_h^2) - (c - j)^2 / (2 s_w^2)),   s = 0.54 side / (6 stride),

    the bell of Liu et al. 2019, arXiv 1909.00700, which is as long and wide as the box; that of Zhou et al.
    2019, arXiv 1904.07850, is round. `heat` is the highest of its class. As in the former paper, and not the
    latter, boxes and classes are to be told around the centre too: in a cell those of the highest bell, of
    equal ones the smallest, and nowhere below a bell of 0.1. Nothing depends on the order of the objects,
    except where two that are equally large share a cell.

    Args:
        boxes: xyxy in pixels; a centre outside of the grid is moved to its border.
        labels: Classes from 0; negative for places without an object, whose boxes may be anything.
        classes: Their number.
        grid: (rows, columns) of cells.
        stride: Pixels a cell.
        crowd: Objects that are several: they are not to be found, and mark cells as ignored.

    Cost: O(objects rows columns) time and memory.

    Raises:
        ValueError: A label that is no class; numbers below 1.
    """
    for name, value in (("classes", classes), ("grid", min(grid)), ("stride", stride)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    if labels.numel() and labels.max() >= classes:
        raise ValueError(f"labels: expected classes below {classes}, got {int(labels.max())}")
    exact = accumulator_dtype(boxes.dtype)
    order = box_area(boxes).argsort(dim=1, stable=True)
    boxes, labels = boxes.to(exact).gather(1, order[..., None].expand_as(boxes)), labels.gather(1, order)
    there = labels >= 0
    crowd = torch.zeros_like(there) if crowd is None else crowd.gather(1, order) & there
    boxes = torch.where(there[..., None], boxes, 0.0)
    bells = _bells(boxes, grid, stride) * (there & ~crowd)[..., None, None]
    return CentreTargets(
        _heat(bells, labels, classes), *_owners(bells, boxes, labels), _inside(boxes, crowd, grid, stride)
    )


def centre_focal_loss(
    logits: Tensor,
    heat: Tensor,
    ignored: Tensor | None = None,
    *,
    alpha: float = 2.0,
    beta: float = 4.0,
) -> Float[Tensor, ""]:
    """The penalty-reduced focal loss: the mean over images of the sum over cells / max(1, centres).

        -(1 - p)^alpha log p                  at centres, heat = 1
        -(1 - heat)^beta p^alpha log(1 - p)   elsewhere,      p = sigmoid(logits)

    Law and Deng 2018, arXiv 1808.01244; Zhou et al. 2019, arXiv 1904.07850, equation 1. Deviation: each image
    is divided by its own number of centres, not the batch by its own, so that the mean over the parts in
    which a batch is accumulated, or over the ranks that share it, is that of the batch.

    Args:
        logits: `(batch, classes, rows, columns)`, of any size: far from 0 the loss is linear in them, and no
            logarithm is of 0.
        heat: The same shape, from 0 to 1, as `centre_targets` gives it.
        ignored: `(batch, rows, columns)`, booleans: cells of which centres alone count; their logits
            elsewhere may be anything.
        alpha, beta: How little easy cells count, and cells near a centre.

    Returns:
        A scalar in float32 (float64 for float64 logits).

    Raises:
        ValueError: Shapes that do not fit, or an exponent below 0.

    Example:
        >>> logits = torch.zeros(1, 1, 1, 2)
        >>> centre_focal_loss(logits, torch.tensor([[[[1.0, 0.5]]]])) / torch.tensor(2.0).log()
        tensor(0.2656)
    """
    if logits.shape != heat.shape:
        raise ValueError(f"heat: expected logits' shape {tuple(logits.shape)}, got {tuple(heat.shape)}")
    if ignored is not None and ignored.shape != (len(heat), *heat.shape[2:]):
        wanted = (len(heat), *heat.shape[2:])
        raise ValueError(f"ignored: expected shape {wanted}, got {tuple(ignored.shape)}")
    for name, value in (("alpha", alpha), ("beta", beta)):
        if value < 0:
            raise ValueError(f"{name}: expected at least 0, got {value}")
    x = logits.to(accumulator_dtype(logits.dtype))
    centre = heat == 1
    off = torch.zeros_like(centre) if ignored is None else ignored[:, None] & ~centre
    # Chosen before any arithmetic: a cell that does not count may hold NaN.
    x = torch.where(off, 0.0, x)
    p = x.sigmoid()
    at = (1 - p) ** alpha * F.logsigmoid(x)
    away = (1 - heat.to(x.dtype)) ** beta * p**alpha * F.logsigmoid(-x)
    loss = -torch.where(centre, at, away.masked_fill(off, 0.0)).flatten(1).sum(1)
    return (loss / centre.flatten(1).sum(1).clamp_min(1)).mean()


def centre_class_loss(logits: Tensor, labels: Tensor, weight: Tensor) -> Float[Tensor, ""]:
    """Which class, given that there is an object: cross entropy of the softmax of the same logits, in nats.

    The mean over images of sum_i w_i l_i / max(1, sum_i w_i) over cells, with l = -log softmax(logits) at the
    label. Adding a number to all logits of a cell changes nothing, so this says nothing of whether an object
    is there, which `centre_focal_loss` says; and where one is, that loss hardly tells classes apart as long
    as all are unlikely, its gradient for the wrong ones being that of p^2.

    Args:
        logits: `(batch, classes, rows, columns)`.
        labels: `(batch, rows, columns)`, int64, from 0.
        weight: `(batch, rows, columns)`, not negative; where it is 0, logits and labels may be anything.

    Returns:
        A scalar in float32 (float64 for float64 logits).

    Raises:
        ValueError: Shapes that do not fit.
    """
    wanted = (len(logits), *logits.shape[2:])
    for name, given in (("labels", labels), ("weight", weight)):
        if given.shape != wanted:
            raise ValueError(f"{name}: expected shape {wanted}, got {tuple(given.shape)}")
    counts = weight > 0
    x = torch.where(counts[:, None], logits.to(accumulator_dtype(logits.dtype)), 0.0)
    return mean_of_images(F.cross_entropy(x, labels * counts, reduction="none"), weight.to(x.dtype))


def _bells(boxes: Tensor, grid: tuple[int, int], stride: int) -> Float[Tensor, "batch objects rows columns"]:
    """A product of one bell along the rows and one along the columns."""
    along = []
    for axis, cells in ((1, grid[0]), (0, grid[1])):
        low, high = boxes[..., axis], boxes[..., axis + 2]
        cell = ((low + high) / (2 * stride)).floor().clamp(0, cells - 1)
        spread = (_SPREAD * (high - low) / stride).clamp_min(1e-3)
        away = torch.arange(cells, dtype=boxes.dtype, device=boxes.device) - cell[..., None]
        along.append((-0.5 * (away / spread[..., None]).square()).exp())
    return along[0][..., :, None] * along[1][..., None, :]


def _heat(bells: Tensor, labels: Tensor, classes: int) -> Tensor:
    batch, _, *grid = bells.shape
    index = labels.clamp_min(0)[..., None, None].expand_as(bells)
    return bells.new_zeros(batch, classes, *grid).scatter_reduce(1, index, bells, "amax")


def _owners(bells: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each cell the box with the highest bell, its class, and its weight."""
    batch, objects, *grid = bells.shape
    if objects == 0:
        nothing = boxes.new_zeros(batch, *grid)
        return nothing[..., None].expand(*nothing.shape, 4), nothing.long(), nothing
    height, owner = bells.flatten(2).max(1)
    height = torch.where(height >= _LEAST, height, 0.0)
    sums = boxes.new_zeros(batch, objects).scatter_add(1, owner, height)
    weight = height / sums.gather(1, owner).clamp_min(_LEAST)
    owned = boxes.gather(1, owner[..., None].expand(-1, -1, 4))
    called = labels.gather(1, owner).clamp_min(0)
    return owned.unflatten(1, grid), called.unflatten(1, grid), weight.unflatten(1, grid)


def _inside(boxes: Tensor, crowd: Tensor, grid: tuple[int, int], stride: int) -> Tensor:
    """Which cells have their middle inside a crowd."""
    along = []
    for axis, cells in ((1, grid[0]), (0, grid[1])):
        middle = stride * (torch.arange(cells, dtype=boxes.dtype, device=boxes.device) + 0.5)
        along.append((middle >= boxes[..., axis, None]) & (middle < boxes[..., axis + 2, None]))
    both = along[0][..., :, None] & along[1][..., None, :]
    return (both & crowd[..., None, None]).any(1)
