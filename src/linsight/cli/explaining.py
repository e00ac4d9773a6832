"""Runs the experiments of `linsight explain` and writes their page; finds and tells parameter groups."""

import json
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from linsight import data, optim, reports
from linsight.cli.progress import watching
from linsight.cli.tables import columns
from linsight.metrics.average_precision import worked_example
from linsight.reports.decay import map_exhibits, shrinkage_exhibits
from linsight.reports.numbers import plain
from linsight.reports.protocols import protocol_exhibits
from linsight.tasks.exhibits import Exhibit, Table
from linsight.training import RunConfig, from_json

__all__ = ["explain_adamw", "explain_groups", "explain_map", "recorded"]

SCALES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
OPTIMISERS = {"Adam, L2 in the gradient": False, "AdamW, decoupled": True}

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
MAPS: dict[str, tuple[Callable[[float, float], Any], tuple[float, ...]]] = {
    "Adam, decay in the gradient": (
        lambda lr, decay: optim.AdamConfig(lr=lr, weight_decay=decay),
        (0, 1e-4, 1e-3, 1e-2, 1e-1),
    ),
    "AdamW as torch means its decay": (
        lambda lr, decay: optim.AdamWConfig(lr=lr, weight_decay=decay),
        (0, 0.1, 1, 3, 10, 30),
    ),
    "AdamW as the paper means it": (
        lambda lr, decay: optim.AdamWConfig(lr=lr, weight_decay=decay, wd_mode="paper"),
        (0, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    ),
}
TASK = (
    "784-128-10 network with relu; the first 1,000 MNIST training images, 20 % of their labels drawn at "
    "random, 30 epochs in batches of 50, cosine to 0, matrices decayed; errors on training images 50,000 to "
    "51,999. One seed: a cell is right to about 0.8 points."
)


def explain_adamw(out: Path, *, heatmap: bool, as_json: bool, command: Sequence[str]) -> None:
    """Run, print the tables, write the folder, print the page's path."""
    lr, decay, steps = 1e-3, 0.1, 1000
    means = {
        name: [
            optim.decayed_mean(scale, decoupled=decoupled, lr=lr, weight_decay=decay, steps=steps)
            for scale in SCALES
        ]
        for name, decoupled in OPTIMISERS.items()
    }
    about = (
        f"2,000 weights of 1, gradients of noise alone, {steps:,} steps, learning rate {lr:g}, "
        f"weight_decay {decay:g}, float64."
    )
    exhibits: list[Exhibit] = list(
        shrinkage_exhibits(SCALES, means, pure=(1 - lr * decay) ** steps, about=about)
    )
    found: dict[str, Any] = {"scales": SCALES, "means": means}
    if heatmap:
        maps = _maps()
        decays = {name: decays for name, (_, decays) in MAPS.items()}
        exhibits += map_exhibits(maps, RATES, decays, about=TASK)
        found |= {
            "rates": RATES,
            "decays": decays,
            "errors": {name: errors.round(4).tolist() for name, errors in maps.items()},
        }
    page = reports.write_folder(
        out,
        title="What decay does in Adam and in AdamW",
        exhibits=exhibits,
        settings={"experiment": about, **({"map": TASK} if heatmap else {})},
        numbers=found,
        command=shlex.join(command),
    )
    _tell(page, exhibits, as_json=as_json)


def explain_map(out: Path, *, as_json: bool, command: Sequence[str]) -> None:
    """What each protocol makes of the worked example; prints as `explain_adamw` does."""
    exhibits = protocol_exhibits(*worked_example())
    page = reports.write_folder(
        out,
        title="One set of detections, four average precisions",
        exhibits=exhibits,
        settings={"example": "five objects of one class in three images, eight detections"},
        numbers={"protocols": [dict(zip(exhibits[0].columns, row, strict=True)) for row in exhibits[0].rows]},
        command=shlex.join(command),
    )
    _tell(page, exhibits, as_json=as_json)


def _tell(page: Path, exhibits: Sequence[Exhibit], *, as_json: bool) -> None:
    if as_json:
        print(page.with_name("numbers.json").read_text(encoding="utf-8"), end="")
        return
    for exhibit in exhibits:
        if isinstance(exhibit, Table):
            print(f"{exhibit.title}\n{columns(exhibit)}\n")
    print(page)


def _maps() -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    pixels, labels = (part[:1000] for part in data.mnist("train"))
    noisy = np.where(random.random(1000) < 0.2, random.integers(0, 10, 1000), labels)
    train = _examples(pixels, noisy)
    test = _examples(*(part[:2000] for part in data.mnist("valid")))
    found = {}
    with watching() as progress:
        for name, (make, decays) in MAPS.items():
            tell = partial(progress, name)
            errors = optim.decay_map(make, RATES, decays, train=train, test=test, progress=tell)
            found[name] = errors.numpy()
    return found


def _examples(pixels: np.ndarray, labels: np.ndarray) -> optim.Examples:
    x = torch.from_numpy(pixels.reshape(len(pixels), -1).astype(np.float32) / 255)
    return optim.Examples(x, torch.from_numpy(labels.astype(np.int64)))


def explain_groups(config: RunConfig, *, as_json: bool) -> str:
    """The groups of a configuration, as its run prints them."""
    with torch.random.fork_rng(devices=[]):
        model = config.task.build().build_model()
    optimizer = config.training.optimizer.build(model)
    groups = optimizer.param_groups
    if as_json:
        pairs = zip(optim.rows(groups), groups, strict=True)
        shown = [row._asdict() | {"parameters": group["param_names"]} for row, group in pairs]
        found = [{name: plain(value) for name, value in row.items()} for row in shown]
        return json.dumps({"optimiser": optim.implementation(optimizer), "groups": found}, indent=2)
    return "\n".join([f"optimiser: {optim.implementation(optimizer)}", optim.describe(groups, model)])


def recorded(path: Path) -> RunConfig:
    """The configuration of a run's folder, or of its config.json.

    Raises:
        ValueError: It has none, or not one of a run.
    """
    file = path / "config.json" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"explain groups: {path} is no run: it has no config.json")
    return from_json(RunConfig, file.read_text(encoding="utf-8"), where=str(file))
