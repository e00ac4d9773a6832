"""`python -m tools.scorecard` checks every library that is installed, and writes docs/scorecard.md."""

import argparse
import importlib
import importlib.metadata
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from linsight.conformance import LAWS, Subject, check
from linsight.reports.environment import environment
from tools.scorecard.page import Checked, Library, page

ROOT = Path(__file__).parents[2]
FILES = {
    "performer": "performer-pytorch",
    "flash": "FLASH-pytorch",
    "linear_transformer": "linear-attention-transformer",
    "lrnnx_layers": "lrnnx",
    "fla_ops": "flash-linear-attention",
    "mamba_py": "mambapy",
    "x_transformers_decoder": "x-transformers",
    "hf_mamba": "transformers",
}
"""File of adapters -> the package it is about."""

JUDGED = tuple(name for name in LAWS if name != "cost-growth")
"""Times of whatever machine this is say nothing about a library."""

FACTS = ("linsight", "commit", "Python", "torch", "processor", "threads")


def main() -> int:
    """Check, write the page, and name it."""
    parser = argparse.ArgumentParser(prog="python -m tools.scorecard", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs" / "scorecard.md", help="where the page goes"
    )
    parser.add_argument("files", nargs="*", help=f"some of {', '.join(FILES)}; all if none is named")
    options = parser.parse_args()
    if unknown := [name for name in options.files if name not in FILES]:
        parser.error(f"files: expected some of {', '.join(FILES)}, got {', '.join(unknown)}")
    warnings.simplefilter("ignore")  # the libraries' own
    libraries = [_library(name) for name in options.files or FILES]
    found = environment()
    facts = {"date": datetime.now(UTC).date().isoformat()} | {
        name: found[name] for name in FACTS if name in found
    }
    options.out.write_text(page(libraries, LAWS, facts), encoding="utf-8")
    print(options.out.relative_to(ROOT) if options.out.is_relative_to(ROOT) else options.out)
    return 0


def _library(name: str) -> Library:
    package = FILES[name]
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return Library(package, "", failure="it is not installed")
    try:
        adapters = importlib.import_module(f"tools.scorecard.{name}")
        checked = tuple(_checked(adapters, name, make) for make in adapters.SUBJECTS)
    except Exception as error:  # a library's failure is a finding, whatever it is
        line = " ".join(str(error).split())
        return Library(package, version, failure=f"{type(error).__name__}: {line}")
    return Library(package, version, checked, adapters.CAUSES, note=adapters.__doc__ or "")


def _checked(adapters: ModuleType, name: str, make: Callable[[], Subject]) -> Checked:
    laws = getattr(adapters, "LAWS", {}).get(make.__name__, JUDGED)
    report = check(make(), laws)
    broken = ", ".join(verdict.law for verdict in report.broken)
    print(f"{report.subject}: {'broken: ' + broken if broken else 'nothing broken'}", flush=True)
    return Checked(f"{name}.py:{make.__name__}", report)


if __name__ == "__main__":
    raise SystemExit(main())
