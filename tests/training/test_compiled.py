"""A compiled loss is the loss."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ranked_training
from toy_training import ToyTask, toy_run

from linsight.training import fit, read_metrics

# Half of a compilation is not the loss: headers for later ones, 150 MB, and trials of the processor.
QUICK = {"TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0", "TORCHINDUCTOR_VEC_ISA_OK": "0"}


@pytest.mark.slow
def test_a_compiled_run_is_the_run_up_to_rounding(tmp_path):
    """Each of four steps; in a process without shape checks, which no graph has."""
    places = os.pathsep.join([str(Path(ranked_training.__file__).parent), os.environ.get("PYTHONPATH", "")])
    code = (
        "from ranked_training import train; "
        "train({!r}, 4, 'eager', ['ddp']); train({!r}, 4, 'compiled', ['ddp'])"
    )
    folders = [tmp_path / fault for fault in ("eager", "compiled")]
    done = subprocess.run(
        [sys.executable, "-c", code.format(*map(str, folders))],
        env=os.environ | {"PYTHONPATH": places, **QUICK},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("compiled: ") == 1
    eager, compiled = (read_metrics(folder / "ddp" / "metrics.csv") for folder in folders)
    for name in ("train/loss", "train/accuracy", "gradient_norm", "valid/accuracy"):
        assert compiled[name][1] == pytest.approx(eager[name][1], rel=1e-4)


def test_without_a_compiler_it_is_refused_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    config = toy_run(compile=True)
    with pytest.raises(ValueError, match="compile: no C\\+\\+ compiler is found here; install g\\+\\+"):
        fit(config, tmp_path / "run", task=ToyTask(config.task), progress="none")
