"""`linsight predict segment IMAGE`: the class of every pixel, as a mask and over the picture."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from linsight.cli.parsing import parse
from linsight.cli.predicting import PredictOptions, files_in, png, read_picture, seen, trained, write_files

__all__ = ["Options", "run"]

DESCRIPTION = """Write the mask, class numbers as a PNG with a palette, and the picture under it; print the
classes and their shares of the pixels.

A picture with a side longer than --tile is predicted in tiles that overlap, and averaged there by weights
that sum to 1. With mixers that see all tokens, as linear attention does, this is not what the whole picture
would give at once: a tile knows nothing of the others. A picture that fits in a tile is one call.
"""


@dataclass(frozen=True)
class Options(PredictOptions):
    """What `linsight predict segment` takes."""

    tile: int = 512
    """Side of a tile in pixels, a multiple of the model's coarsest stride."""
    overlap: int = 128
    """Pixels that neighbours share, a multiple of that stride, at most half a tile."""


def run(arguments: Sequence[str]) -> int:
    """Predict; prints the classes, and the paths of the files last."""
    options = parse(Options, arguments, prog="linsight predict segment", description=DESCRIPTION)
    import numpy as np
    import torch

    from linsight.cli.progress import watching
    from linsight.models.vision import DenseModel
    from linsight.tasks.segment import COLOURS, overlaid, predict_tiled

    image = read_picture(options.image)
    found, model = trained("segment", options.run)
    assert isinstance(model, DenseModel)  # the model of this task
    mask_file, overlay_file = files_in(options, found, "mask.png", "overlay.png")
    pixels = torch.from_numpy(image).float().permute(2, 0, 1)
    device = next(model.parameters()).device
    with watching(lasting=False) as progress, torch.inference_mode():
        mask = predict_tiled(
            model,
            pixels,
            tile=options.tile,
            overlap=options.overlap,
            stride=model.backbone.strides[-1],
            device=device,
            progress=lambda done, total: progress("tiles", done, total),
        ).numpy()
    overlay = overlaid(image.transpose(2, 0, 1), mask)
    write_files({mask_file: png(mask, COLOURS), overlay_file: png(overlay)})
    counts = np.bincount(mask.ravel(), minlength=model.config.classes)
    names = ("background", *map(str, range(10)))
    shares = {name: float(count / mask.size) for name, count in zip(names, counts, strict=True) if count}
    if options.json:
        told = {
            **seen(options, found, image),
            "shares": shares,
            "mask": str(mask_file),
            "overlay": str(overlay_file),
        }
        print(json.dumps(told, indent=2))
        return 0
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        print(f"{name:<10}  {100 * share:6.2f} %")
    print(mask_file)
    print(overlay_file)
    return 0
