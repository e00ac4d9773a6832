"""Checkpoints in the background: the same files, one at a time, while training goes on."""

import threading
from collections import UserDict

import torch
from toy_training import toy_run

from linsight.training import fit, open_run
from linsight.training.checkpoint import Checkpoint, last_step
from linsight.training.config import TrainingConfig
from linsight.training.saving import Saver


def test_a_run_with_them_is_the_run_without(tmp_path):
    """Weights, checkpoints and what is kept of them; the end waits for the last one."""
    for background in (False, True):
        config = toy_run(background_checkpoints=background)
        fit(config, tmp_path / str(background), progress="none")
    now, later = (sorted((tmp_path / name / "checkpoints").iterdir()) for name in ("False", "True"))
    assert [file.name for file in now] == [file.name for file in later]
    models = [tmp_path / name / "model" / "model.safetensors" for name in ("False", "True")]
    assert models[0].read_bytes() == models[1].read_bytes()
    assert fit(config, tmp_path / "True", progress="none").status == "nothing to do"


class SlowState(UserDict):
    """Plain data that is read for the file only when a gate opens."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__(gate="open")
        self.gate = gate

    def keys(self):
        self.gate.wait(60)
        return super().keys()


def test_saving_returns_before_the_file_is_written_and_the_next_waits(tmp_path):
    run = open_run(tmp_path / "run", toy_run())
    saver = Saver(run, TrainingConfig(10, 1, background_checkpoints=True))
    gate, second = threading.Event(), threading.Event()
    tensors = {"x": torch.zeros(3)}
    saver.save(Checkpoint(1, tensors, SlowState(gate)))
    assert last_step(run.checkpoints) is None  # it waits at the gate, and this line was reached
    thread = threading.Thread(target=lambda: (saver.save(Checkpoint(2, tensors, {})), second.set()))
    thread.start()
    assert not second.wait(0.2)
    gate.set()
    assert second.wait(60)
    saver.finish()
    assert sorted(file.name for file in run.checkpoints.iterdir()) == [
        "step-000000001.safetensors",
        "step-000000002.safetensors",
    ]
    thread.join()
    saver.close()
