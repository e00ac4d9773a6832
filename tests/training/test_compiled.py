"""A compiled loss is the loss."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ranked_training
from toy_training import ToyTask, toy_run

from linsight.training import fit, read_metrics


@pytest.mark.slow
def test_a_compiled_run_is_the_run_up_to_rounding(tmp_path):
    """Each of four steps; in processes without shape checks, which no graph has."""
    rows = []
    for fault in ("eager", "compiled"):
        command = [sys.executable, ranked_training.__file__, str(tmp_path / fault), "4", fault, "ddp"]
        places = os.pathsep.join(
            [str(Path(ranked_training.__file__).parent), os.environ.get("PYTHONPATH", "")]
        )
        done = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": places}, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert ("compiled: " in done.stderr) == (fault == "compiled")
        rows.append(read_metrics(tmp_path / fault / "ddp" / "metrics.csv"))
    for name in ("train/loss", "train/accuracy", "gradient_norm", "valid/accuracy"):
        assert rows[1][name][1] == pytest.approx(rows[0][name][1], rel=1e-4)


def test_without_a_compiler_it_is_refused_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    config = toy_run(compile=True)
    with pytest.raises(ValueError, match="compile: no C\\+\\+ compiler is found here; install g\\+\\+"):
        fit(config, tmp_path / "run", task=ToyTask(config.task), progress="none")
