"""Presets of `gaze`."""

from dataclasses import replace

from linsight.data.gaze import Eyes
from linsight.data.noise_laws import Hetero
from linsight.models.vision import GazeNetConfig, ResidualConfig
from linsight.optim import MuonConfig, WarmupCosineConfig
from linsight.tasks.gaze import GazeConfig, PersonRoles
from linsight.training.config import RunConfig, TrainingConfig
from linsight.training.presets.tiny import tiny_training

__all__ = ["gaze_default", "gaze_noisy", "gaze_tiny"]


def gaze_default() -> RunConfig:
    """Eyes of 36 x 60 by a small residual network, in 5 minutes of two cores; LOG.md has what was tried."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=GazeConfig(),
        training=TrainingConfig(
            steps=3000,
            batch_size=64,
            optimizer=MuonConfig(lr=1e-2, betas=(0.9, 0.99), weight_decay=0.05),
            schedule=WarmupCosineConfig(warmup_steps=50, final=0.02),
            validate_every=500,
            checkpoint_every=500,
        ),
    )


def gaze_noisy() -> RunConfig:
    """The default with labels that are the less exact the less of the iris is seen; untuned."""
    run = gaze_default()
    return replace(run, task=GazeConfig(label_noise=Hetero(clear=0.02, hidden=0.15)))


def gaze_tiny() -> RunConfig:
    """A small network on small pictures for 20 steps: does everything run? Untuned."""
    size = (18, 30)
    backbone = ResidualConfig(in_channels=1, widths=(8, 16))
    task = GazeConfig(
        data=Eyes(size=size, supersample=1),
        roles=PersonRoles(train=8, valid=2, test=3, pictures=10, valid_pictures=5, test_pictures=12),
        model=GazeNetConfig(size=size, backbone=backbone, dim=16, narrow=8),
    )
    return RunConfig(version=RunConfig.VERSION, task=task, training=tiny_training(batch_size=8))
