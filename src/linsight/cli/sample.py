"""`linsight sample RUN`: draws from a trained run and saves the images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from linsight.cli.parsing import parse

__all__ = ["Options", "run"]


@dataclass(frozen=True)
class Options:
    """What `linsight sample` takes."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run folder."""
    number: Annotated[int, arg(aliases=["-n"])] = 64
    """How many images to draw."""
    label: int | None = None
    """Draw images of this class; none: of any."""
    temperature: float = 1.0
    """Divides the logits; other than 1, the images are no samples of the model's law."""
    inpaint: float | None = None
    """Keep this share (0 to 1) of the rows of test images from the top, and draw the rest."""
    seed: int = 0
    """Of the draws: the same seed on the same machine draws the same images."""
    out: Path | None = None
    """Where to: FILE.png is a picture, FILE.npz an array. None: samples.png in the run folder."""
    json: bool = False
    """Print what was measured as JSON."""


def run(arguments: Sequence[str]) -> int:
    """Draw; prints the speed, and the path of the file last."""
    options = parse(Options, arguments, prog="linsight sample", description="Draw from a trained run.")
    _check(options)
    from linsight.cli.sampling import Request, sample

    request = Request(
        options.number, options.label, options.temperature, options.inpaint, options.seed, options.out
    )
    sample(options.run, request, as_json=options.json)
    return 0


def _check(options: Options) -> None:
    """Refuse what cannot be drawn, before anything is loaded."""
    if options.number < 1:
        raise ValueError(f"--number: expected at least 1, got {options.number}")
    if not options.temperature > 0:
        raise ValueError(f"--temperature: expected a number above 0, got {options.temperature}")
    if options.inpaint is not None and not 0 <= options.inpaint <= 1:
        raise ValueError(f"--inpaint: expected a share of the rows in [0, 1], got {options.inpaint}")
    if options.out is not None and options.out.suffix not in (".png", ".npz"):
        raise ValueError(f"--out: expected a name that ends in .png or .npz, got '{options.out}'")
