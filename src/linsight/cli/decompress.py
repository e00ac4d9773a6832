"""`linsight decompress FILE`: the images that `linsight compress` was given."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from linsight.cli.parsing import parse

__all__ = ["Options", "run"]


@dataclass(frozen=True)
class Options:
    """What `linsight decompress` takes."""

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """A file that linsight compress has written."""
    out: Annotated[Path, arg(aliases=["-o"])]
    """FILE.npz; FILE.png, for one image; or a folder of pictures, under their names."""
    run: Path = Path("runs/mnist")
    """The run folder whose density compressed it."""


def run(arguments: Sequence[str]) -> int:
    """Decompress; prints the path of the images."""
    options = parse(
        Options, arguments, prog="linsight decompress", description="Read what linsight compress has written."
    )
    from linsight.cli.compressing import decompress_images

    decompress_images(options.run, options.file, options.out)
    return 0
