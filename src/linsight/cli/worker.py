"""One of the processes that `linsight train --devices N` starts."""

import os
from pathlib import Path

from linsight.cli.launching import ENDING
from linsight.cli.main import main

__all__ = ["work"]


def work() -> int:
    """The exit code for the launcher, which starts again what fails: an agreed end is no failure."""
    code = main()
    return 0 if Path(os.environ[ENDING]).exists() else code


if __name__ == "__main__":
    raise SystemExit(work())
