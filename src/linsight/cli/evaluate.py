"""`linsight evaluate RUN`: measures a trained run on a split; `evaluate detections`: files of detections."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from linsight.cli.parsing import parse

__all__ = ["Options", "run"]


DESCRIPTION = """Measure a trained run on a split.

Files of detections: linsight evaluate detections --help.
"""


@dataclass(frozen=True)
class Options:
    """What `linsight evaluate` takes."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run folder."""
    split: Literal["test", "valid", "train"] = "test"
    """The part of the data; the test split's page is report.html, another's report-SPLIT.html."""
    json: bool = False
    """Print the numbers as JSON."""


def run(arguments: Sequence[str]) -> int:
    """Evaluate; prints the numbers, and the path of the report last."""
    if arguments and arguments[0] == "detections":
        from linsight.cli import evaluate_detections

        return evaluate_detections.run(arguments[1:])
    options = parse(Options, arguments, prog="linsight evaluate", description=DESCRIPTION)
    from linsight.cli.evaluation import evaluate
    from linsight.training.run import load_run

    evaluate(load_run(options.run), options.split, as_json=options.json)
    return 0
