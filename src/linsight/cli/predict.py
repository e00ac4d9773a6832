"""`linsight predict TASK IMAGE`: what a trained run says of a picture."""

import importlib
import sys
from collections.abc import Sequence

from linsight.cli.parsing import choose

__all__ = ["PREDICTORS", "run"]

PREDICTORS = {
    "detect": ("linsight.cli.predict_detect", "objects, their classes and boxes"),
    "gaze": ("linsight.cli.predict_gaze", "where an eye looks, in degrees"),
    "pose": ("linsight.cli.predict_pose", "a person's joints"),
    "segment": ("linsight.cli.predict_segment", "the class of every pixel"),
}
"""Task -> the module whose `run(arguments)` does it, imported when it is asked for; and what it predicts."""


def run(arguments: Sequence[str]) -> int:
    """Hand the arguments to the task's own predictor."""
    if not arguments or arguments[0] in ("-h", "--help"):
        tasks = "\n".join(f"  {task:<10}{what}" for task, (_, what) in PREDICTORS.items())
        usage = "usage: linsight predict TASK IMAGE [--run RUN] [-o FOLDER] [options]"
        text = f"{usage}\n\n{tasks}\n\nlinsight predict TASK --help lists the options of a task."
        print(text, file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    task, *rest = arguments
    module, _ = PREDICTORS[choose("task", task, PREDICTORS)]
    return importlib.import_module(module).run(rest)
