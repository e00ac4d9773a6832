"""`linsight sample RUN`: draws images or text from a trained run."""

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
    number: Annotated[int | None, arg(aliases=["-n"])] = None
    """How many images to draw, or bytes of text; none: 64 images, 600 bytes."""
    label: int | None = None
    """Draw images of this class; none: of any."""
    temperature: float = 1.0
    """Divides the logits; other than 1, the images are no samples of the model's law."""
    inpaint: float | None = None
    """Keep this share (0 to 1) of the rows of test images from the top, and draw the rest."""
    prompt: str | None = None
    """What a text begins with; none: a line break."""
    seed: int = 0
    """Of the draws: the same seed on the same machine draws the same images."""
    out: Path | None = None
    """Where to: FILE.png is a picture, FILE.npz an array, FILE.txt a text. None: samples.png in the run
    folder, or the terminal for a text."""
    json: bool = False
    """Print what was measured as JSON."""


def run(arguments: Sequence[str]) -> int:
    """Draw; prints the speed, and the path of the file last; or the text."""
    options = parse(Options, arguments, prog="linsight sample", description="Draw from a trained run.")
    _check(options)
    from linsight.tasks.language import LanguageConfig
    from linsight.training.run import load_run

    run = load_run(options.run)
    if isinstance(run.config.task, LanguageConfig):
        from linsight.cli.sampling_text import TextRequest, sample_text

        _refuse(options, "a text", "label", "inpaint")
        text = TextRequest(
            options.prompt, options.number or 600, options.temperature, options.seed, options.out
        )
        sample_text(run, text, as_json=options.json)
        return 0
    from linsight.cli.sampling import Request, sample

    _refuse(options, "images", "prompt")
    request = Request(
        options.number or 64, options.label, options.temperature, options.inpaint, options.seed, options.out
    )
    sample(run, request, as_json=options.json)
    return 0


def _check(options: Options) -> None:
    """Refuse what cannot be drawn, before anything is loaded."""
    if options.number is not None and options.number < 1:
        raise ValueError(f"--number: expected at least 1, got {options.number}")
    if not options.temperature > 0:
        raise ValueError(f"--temperature: expected a number above 0, got {options.temperature}")
    if options.inpaint is not None and not 0 <= options.inpaint <= 1:
        raise ValueError(f"--inpaint: expected a share of the rows in [0, 1], got {options.inpaint}")
    if options.out is not None and options.out.suffix not in (".png", ".npz", ".txt"):
        raise ValueError(f"--out: expected a name that ends in .png, .npz or .txt, got '{options.out}'")


def _refuse(options: Options, drawn: str, *names: str) -> None:
    """Refuse what only another kind of run understands."""
    for name in names:
        if getattr(options, name) is not None:
            raise ValueError(f"--{name}: {options.run} draws {drawn}, and has no use for it")
    text = options.out is not None and options.out.suffix == ".txt"
    if options.out is not None and text != (drawn == "a text"):
        raise ValueError(f"--out: {options.run} draws {drawn}, got '{options.out}'")
