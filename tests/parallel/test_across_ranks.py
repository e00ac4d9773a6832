"""Rows spread over the ranks of a process group equal rows in one process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from linsight import mixers
from linsight.mixers.across import KINDS

WORKER = Path(__file__).with_name("worker.py")


@pytest.fixture(scope="module", params=[2, 4])
def found(request, tmp_path_factory) -> list[dict[str, Any]]:
    """What every rank of one run found."""
    folder = tmp_path_factory.mktemp("ranks")
    told = launch(request.param, folder)
    assert (folder / "found.json").exists(), "\n".join(told)
    return json.loads((folder / "found.json").read_text())


def launch(size: int, folder: Path) -> list[str]:
    """What the ranks of a run say on stderr, killed where they take longer than two minutes."""
    command = [sys.executable, "-W", "error", str(WORKER)]
    logs = [folder / f"{rank}.log" for rank in range(size)]
    ranks = []
    for rank, log in enumerate(logs):
        with log.open("w") as stderr:
            ranks.append(subprocess.Popen([*command, str(rank), str(size), str(folder)], stderr=stderr))
    try:
        for rank in ranks:
            rank.wait(timeout=120)
    except subprocess.TimeoutExpired:
        pass  # told by the missing file
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    return [log.read_text() for log in logs]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("subject", [*KINDS, "stack"])
def test_ranks_equal_one_process(found, subject, dtype) -> None:
    """Outputs, states, and gradients of parameters, tokens and initial states, padded rows and two calls."""
    exact = dtype == torch.float64
    # A stack of six layers in float32 rounds six times.
    outputs = 1e-12 if exact else 5e-6 if subject == "stack" else 1e-6
    gradients = 1e-12 if exact else 1e-5
    for rank in found:
        errors = rank[f"{subject} {dtype}"]
        assert errors["y"] <= outputs, errors
        assert errors["state"] <= outputs, errors
        assert errors["gradient"] <= gradients, errors


def test_refusals_name_the_mixer_the_reason_and_the_kinds_that_can(found) -> None:
    said = found[0]["refusals"]
    named = {"softmax True": "SoftmaxAttention", "lru True": "LRU", "rwkv7 True": "RWKV7"}
    named |= {"linear False": "LinearAttention", "bidirectional False": "Bidirectional"}
    assert set(said) == {*named, "short"}
    for key, name in named.items():
        assert said[key].startswith(f"{name} cannot"), said[key]
        assert ", ".join(KINDS) in said[key]
    assert "every key and value" in said["softmax True"]
    assert f"each of {len(found)} ranks" in said["short"]


def test_a_group_of_one_is_no_group(found) -> None:
    assert all(rank["alone"] for rank in found)


def test_the_kinds_named_are_those_that_spread() -> None:
    able = set()
    for kind in mixers.kinds():
        config = mixers.config(kind)
        causal = True in config.directions
        if config.at(0, 1).build(64, causal=causal).spreads:
            able.add(kind)
    assert able == set(KINDS)
