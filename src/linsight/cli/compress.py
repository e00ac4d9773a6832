"""`linsight compress IMAGES`: binary images as a file, losslessly, by the density of a trained run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from linsight.cli.parsing import parse

__all__ = ["Options", "run"]


@dataclass(frozen=True)
class Options:
    """What `linsight compress` takes."""

    images: Annotated[Positional[Path], arg(metavar="IMAGES")]
    """FILE.npz with an array of 0 and 1, (number, height, width); FILE.png in black and white; or a folder of
    such pictures."""
    out: Annotated[Path, arg(aliases=["-o"])]
    """The file to write."""
    run: Path = Path("runs/mnist")
    """The run folder of the density; whoever decompresses needs the same."""
    batch: int = 100
    """Images that are coded at once."""
    json: bool = False
    """Print the numbers as JSON."""


def run(arguments: Sequence[str]) -> int:
    """Compress; prints the bits of the model and of the code, other compressors' too, and the path last."""
    options = parse(
        Options, arguments, prog="linsight compress", description="Compress binary images losslessly."
    )
    from linsight.cli.compressing import compress_images

    compress_images(options.run, options.images, options.out, options.batch, as_json=options.json)
    return 0
