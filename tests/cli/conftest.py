"""A small set of digits, and a run trained on it through the real command."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from linsight.cli.main import main

Command = Callable[..., subprocess.CompletedProcess[str]]

SMALL = (
    "--preset=tiny",
    "--model.sequence.dim=8",
    "--model.sequence.layers=1",
    "--model.sequence.mlp-dim=8",
    "--model.sequence.mixers.0.heads=2",
    "--training.steps=3",
    "--training.batch-size=4",
    "--training.log-every=1",
    "--training.precision=float32",
    "--validate-images=4",
)


@pytest.fixture(scope="session")
def linsight() -> Command:
    """Runs `linsight ARGUMENTS` as a user does."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "linsight", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=280)

    return run


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a test session share, one at a time while they set it up."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "linsight"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def gazer(shared: Path) -> Path:
    """A run of gaze of two steps."""
    folder = shared / "gaze"
    few = "--training.steps 2 --training.batch-size 2 --roles.test 2 --roles.test-pictures 3"
    with FileLock(shared / "gaze.lock"):
        if not (folder / "report.html").exists():
            line = ["train", "gaze", "--run", str(folder), "--progress", "none", "--preset", "tiny"]
            assert main([*line, *few.split()]) == 0
    return folder


@pytest.fixture(scope="session")
def digits(shared: Path) -> Path:
    """A folder of digits for `--data`."""
    folder = shared / "digits"
    with FileLock(shared / "digits.lock"):
        if not folder.exists():
            _write_digits(folder)
    return folder


def _write_digits(folder: Path) -> None:
    """IDX files in MNIST's layout: 36 and 12 noisy images of 28 x 28 in 10 classes."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for part, count in (("train", 36), ("t10k", 12)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        sizes = np.array([2051, count, 28, 28], ">i4").tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(sizes + images.tobytes())
        sizes = np.array([2049, count], ">i4").tobytes()
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(sizes + labels.tobytes())


@pytest.fixture(scope="session")
def small(digits: Path) -> list[str]:
    """The options of a run of three steps on digits made for it."""
    return ["--data", str(digits), *SMALL]


@pytest.fixture(scope="session")
def trained(linsight: Command, small: list[str], shared: Path) -> Path:
    """A finished run; `stdout.txt` beside it holds what the command printed."""
    folder, printed = shared / "run", shared / "stdout.txt"
    with FileLock(shared / "lock"):
        if not printed.exists():
            done = linsight("train", "generate", "--run", folder, *small)
            assert done.returncode == 0, done.stderr
            printed.write_text(done.stdout)
    return folder


MODULES = '''
import torch
from torch import nn
from linsight.conformance import Whole


class Mean(nn.Module):
    """The mean of the tokens so far."""

    dim = 4

    def forward(self, x):
        return x.cumsum(1) / self.count(x)

    def count(self, x):
        return torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]


class Hasty(Mean):
    """Divides by the length of the call."""

    def count(self, x):
        return x.shape[1]


class Leaky(Mean):
    """Sees the future."""

    def count(self, x):
        return 1 + x.square().sum((1, 2), keepdim=True)


class Rare(Leaky):
    """Sees the future after some first tokens: with the inputs of seed 4, but not of 0 to 3."""

    def forward(self, x):
        return super().forward(x) if x[0, 0, 0] > 0.5 else Mean()(x)


class Spoiled(Mean):
    def count(self, x):
        return x * float("nan")


def mean():
    return Mean()


def hasty():
    return Hasty()


def leaky():
    return Leaky()


def rare():
    return Rare()


def spoiled():
    return Spoiled()


def tolerated():
    return Whole(Hasty(), 4, unpromised={"prefix": "lengths are <fixed>"})


def asks(size):
    return Mean()


def bare():
    return nn.Identity()


def fails():
    raise RuntimeError("no weights here")
'''


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the current one, with `mine.py`: modules of somebody else, some of them wrong."""
    (tmp_path / "mine.py").write_text(MODULES)
    monkeypatch.chdir(tmp_path)
    return tmp_path
