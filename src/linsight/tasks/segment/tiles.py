"""Images that are too large for one call: overlapping tiles, weighed so that no seam is seen."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["predict_tiled", "tile_starts", "tile_weights"]


def predict_tiled(
    model: Callable[[Tensor], Tensor],
    image: Float[Tensor, "channels height width"],
    *,
    tile: int,
    overlap: int,
    stride: int = 32,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Int64[Tensor, "height width"]:
    """The most probable class of every pixel, from tiles of at most tile x tile pixels that overlap.

    Where tiles overlap, their probabilities are averaged by weights that sum to 1, fall linearly across the
    overlap, and are 0 in its outer quarter: a tile's own border, where padding shows, counts nothing.

    **What is exact.** An image that fits in a tile is one call, as without tiles. A model whose logits depend
    on pixels at most overlap / 4 away gives what the whole image gives. So do no models with mixers that see
    all tokens of a map, linear attention among them: there a tile knows nothing of what is beyond it, and its
    logits are those of the tile as an image. Starts are multiples of `stride`, so that maps of all strides
    have their pixels in the same places as for the whole image.

    Args:
        model: Logits `(1, classes, h, w)` of images `(1, channels, h, w)`.
        image: Of any size.
        tile: A multiple of `stride`.
        overlap: A multiple of `stride`, at most half of `tile`.
        stride: The coarsest of the model.
        device: Where the model is; None: the CPU. The image stays where it is.
        progress: Called with the tiles done, and of how many.

    Memory: logits of one tile, and probabilities of one row of tiles.

    Raises:
        ValueError: A tile or overlap that is no such multiple.
    """
    _check(tile, overlap, stride)
    height, width = image.shape[1:]
    rows, columns = (tile_starts(side, tile, overlap) for side in (height, width))
    done = 0

    def band(top: int) -> Tensor:
        """The weighed probabilities of a row of tiles."""
        nonlocal done
        total = None
        for left in columns:
            piece = image[None, :, top : top + tile, left : left + tile].to(device)
            prob = model(piece).float().softmax(1)[0].cpu()
            if total is None:
                total = prob.new_zeros(len(prob), prob.shape[1], width)
            total[:, :, left : left + tile] += prob * tile_weights(left, columns, width, tile, overlap)
            done += 1
            if progress:
                progress(done, len(rows) * len(columns))
        assert total is not None  # there is a column
        return total * tile_weights(top, rows, height, tile, overlap)[:, None]

    return torch.cat([part.argmax(0) for part in _finished(map(band, rows), rows)])


def tile_starts(side: int, tile: int, overlap: int) -> list[int]:
    """Where the tiles of an axis begin: each tile - overlap after the one before, up to the end."""
    return list(range(0, max(1, side - overlap), tile - overlap))


def tile_weights(
    start: int, starts: list[int], side: int, tile: int, overlap: int
) -> Float[Tensor, " pixels"]:
    """The weights of the tile that begins at `start` along its axis; those of all tiles sum to 1.

    1 outside the overlaps. Across one: 0 in its first quarter, a straight line in its two middle quarters, 1
    in its last.
    """
    place = torch.arange(start, min(start + tile, side)) + 0.5
    weights = torch.ones(len(place))

    def rise(first: int) -> Tensor:
        return ((place - first - overlap / 4) / (overlap / 2)).clamp(0, 1)

    if overlap and start > starts[0]:
        weights = weights * rise(start)
    if overlap and start < starts[-1]:
        weights = weights * (1 - rise(start + tile - overlap))
    return weights


def _finished(bands: Iterator[Tensor], rows: list[int]) -> Iterator[Tensor]:
    """The rows of the image that no later band adds to, as bands come."""
    rest: Tensor | None = None
    for index, band in enumerate(bands):
        if rest is not None:
            band[:, : rest.shape[1]] += rest
        ready = band.shape[1] if index + 1 == len(rows) else rows[index + 1] - rows[index]
        yield band[:, :ready]
        rest = band[:, ready:]


def _check(tile: int, overlap: int, stride: int) -> None:
    if tile < stride or tile % stride:
        raise ValueError(f"tile: expected a multiple of the model's stride {stride}, got {tile}")
    if overlap < 0 or overlap % stride or 2 * overlap > tile:
        raise ValueError(
            f"overlap: expected a multiple of the model's stride {stride} up to half a tile, {tile // 2}, "
            f"got {overlap}"
        )
