"""Presets of `gaze_video`."""

from linsight.data.gaze import EyeClips, Eyes
from linsight.mixers import config as mixer
from linsight.models.sequence import SequenceConfig
from linsight.models.vision import GazeNetConfig, GazeVideoNetConfig, ResidualConfig
from linsight.optim import MuonConfig, WarmupCosineConfig
from linsight.tasks.gaze import PersonRoles
from linsight.tasks.gaze_video import GazeVideoConfig
from linsight.training.config import RunConfig, TrainingConfig
from linsight.training.presets.tiny import tiny_training

__all__ = ["gaze_video_default", "gaze_video_tiny"]


def gaze_video_default() -> RunConfig:
    """Clips of 12 frames by Mamba over the network of `gaze`, in about 5 minutes; untuned."""
    # What to keep and what to pass over, as frames behind closed lids, depends on what is seen.
    over_time = SequenceConfig(dim=64, layers=2, mlp_dim=128, mixers=(mixer("mamba"),))
    return RunConfig(
        version=RunConfig.VERSION,
        task=GazeVideoConfig(model=GazeVideoNetConfig(over_time=over_time)),
        training=TrainingConfig(
            steps=1000,
            batch_size=16,
            optimizer=MuonConfig(lr=1e-2, betas=(0.9, 0.99), weight_decay=0.05),
            schedule=WarmupCosineConfig(warmup_steps=50, final=0.02),
            validate_every=250,
            checkpoint_every=250,
        ),
    )


def gaze_video_tiny() -> RunConfig:
    """A small network on small clips for 20 steps: does everything run? Untuned."""
    size = (18, 30)
    backbone = ResidualConfig(in_channels=1, widths=(8, 16))
    eye = GazeNetConfig(size=size, backbone=backbone, dim=16, narrow=8)
    over_time = SequenceConfig(dim=16, layers=1, mlp_dim=32, mixers=(mixer("linear", heads=2),))
    task = GazeVideoConfig(
        data=EyeClips(eyes=Eyes(size=size, supersample=1), frames=12, rate=12.0, blinks=1.0),
        roles=PersonRoles(train=8, valid=2, test=3, pictures=2, valid_pictures=2, test_pictures=2),
        model=GazeVideoNetConfig(eye=eye, over_time=over_time),
    )
    return RunConfig(version=RunConfig.VERSION, task=task, training=tiny_training(batch_size=4))
