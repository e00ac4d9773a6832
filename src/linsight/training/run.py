"""The run folder: one configuration, and everything that training and reporting made of it."""

import os
from dataclasses import dataclass
from pathlib import Path

from linsight.training.codec import first_difference, from_json, to_json
from linsight.training.config import RunConfig
from linsight.training.files import read_text, remove_leftovers, write_atomically

__all__ = ["Run", "load_run", "open_run"]


@dataclass(frozen=True)
class Run:
    """An existing run folder. Get one from `open_run` (to train) or `load_run` (to look)."""

    folder: Path
    config: RunConfig

    @property
    def config_file(self) -> Path:
        """`config.json`, written once."""
        return self.folder / "config.json"

    @property
    def metrics_file(self) -> Path:
        """`metrics.csv`, one row per logged step."""
        return self.folder / "metrics.csv"

    @property
    def events(self) -> Path:
        """The folder of TensorBoard event files."""
        return self.folder / "events"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    @property
    def model(self) -> Path:
        """The folder of the trained model: `model.safetensors` and `config.json`."""
        return self.folder / "model"

    @property
    def figures(self) -> Path:
        """The folder of pictures."""
        return self.folder / "figures"

    @property
    def evaluation_file(self) -> Path:
        """`evaluation.json`, the numbers of the last evaluation."""
        return self.folder / "evaluation.json"

    @property
    def report_file(self) -> Path:
        """`report.html`, self-contained."""
        return self.folder / "report.html"


def open_run(folder: str | os.PathLike[str], config: RunConfig) -> Run:
    """Create the run of this configuration in `folder`, or open the one that is there.

    A run holds one configuration for life: a folder of another one is refused, since mixing two would make
    its numbers belong to neither.

    Raises:
        ValueError: The folder holds a run of another configuration (the first differing field and both
            values), or other files, or is a file.
        OSError: The folder cannot be made or written.
    """
    run = Run(Path(folder), config)
    text = to_json(config)
    if run.config_file.exists():
        _refuse_another(run)
    else:
        _refuse_occupied(run.folder)
        run.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(run.config_file, text.encode())
    return run


def load_run(folder: str | os.PathLike[str], config_type: type[RunConfig] = RunConfig) -> Run:
    """Open an existing run, with the configuration it was made with.

    Raises:
        FileNotFoundError: No run is there.
        ValueError: Its `config.json` is damaged or of a version that cannot be read.
    """
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{folder}: no run is here (no config.json); `linsight train` makes one")
    return Run(Path(folder), from_json(config_type, read_text(file), where=str(file)))


def _refuse_another(run: Run) -> None:
    file = run.config_file
    there = from_json(type(run.config), read_text(file), where=str(file))
    difference = first_difference(there, run.config)
    if difference is not None:
        path, old, new = difference
        raise ValueError(
            f"{run.folder}: holds a run of another configuration: {path} is {old!r} there and {new!r} here; "
            "choose another folder, or that value"
        )


def _refuse_occupied(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder, got a file; choose another name")
    if folder.is_dir():
        remove_leftovers(folder)
        visible = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
        if visible:
            raise ValueError(
                f"{folder}: not empty, but no run (no config.json, but {visible[0]}); choose another folder"
            )
