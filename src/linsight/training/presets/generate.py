"""Presets of `generate`."""

from linsight.densities import (
    DeepNADEConfig,
    FVSBNConfig,
    GatedPixelCNNConfig,
    MADEConfig,
    NADEConfig,
    PixelCNNConfig,
)
from linsight.mixers import config as mixer
from linsight.models.sequence import ImageDensityConfig, SequenceConfig
from linsight.optim import AdamWConfig, MuonConfig, WarmupCosineConfig
from linsight.tasks.generate import AnyDensityConfig, GenerateConfig
from linsight.training.config import RunConfig, TrainingConfig
from linsight.training.hardware import best_precision
from linsight.training.presets.tiny import tiny_training

__all__ = ["GENERATE"]

LABEL_WEIGHT = 5.0
"""With the label last its 2 nats stand beside 80 of pixels, and are hardly learned unweighted (LOG.md)."""


def generate_default() -> RunConfig:
    """p(x, y) of MNIST in about 5 minutes of two cores; LOG.md has the runs behind its values."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=GenerateConfig(label_weight=LABEL_WEIGHT),
        training=TrainingConfig(
            steps=2300,
            batch_size=32,
            optimizer=AdamWConfig(lr=3e-3, betas=(0.9, 0.99), weight_decay=0.05),
            schedule=WarmupCosineConfig(warmup_steps=40, final=0.02),
            precision=best_precision(),
            validate_every=575,
            checkpoint_every=230,
        ),
    )


def generate_long() -> RunConfig:
    """p(y) p(x | y) by a wider and deeper network, in an hour of two cores; LOG.md has what was tried."""
    sequence = SequenceConfig(dim=192, layers=5, mlp_dim=384, mixers=(mixer("linear", heads=6),))
    return RunConfig(
        version=RunConfig.VERSION,
        task=GenerateConfig(model=ImageDensityConfig(sequence=sequence, label="first"), bayes_images=10_000),
        training=TrainingConfig(
            steps=5600,
            batch_size=32,
            optimizer=MuonConfig(lr=5e-3, betas=(0.9, 0.99), weight_decay=0.05),
            schedule=WarmupCosineConfig(warmup_steps=100, final=0.02),
            precision=best_precision(),
            validate_every=1000,
            checkpoint_every=500,
        ),
    )


def generate_fvsbn() -> RunConfig:
    """FVSBN: a logistic regression for each pixel, in about 3 minutes."""
    return _pixels(FVSBNConfig(), steps=8000, batch_size=100, lr=1e-2)


def generate_nade() -> RunConfig:
    """NADE: 500 sums over the pixels so far; untuned."""
    return _pixels(NADEConfig(), steps=1200, batch_size=50, lr=2e-3)


def generate_deepnade() -> RunConfig:
    """DeepNADE: one network for all orders; measured on 1,000 images, in one of them; untuned."""
    task = GenerateConfig(
        model=DeepNADEConfig(),
        label_weight=LABEL_WEIGHT,
        validate_images=200,
        evaluate_images=1000,
        bayes_images=200,
    )
    return _pixels(task, steps=12_000, batch_size=100, lr=2e-3)


def generate_made() -> RunConfig:
    """MADE: a masked autoencoder of one hidden layer, in 4 min 38 s; LOG.md has what was tried."""
    return _pixels(MADEConfig(hidden=(2000,)), steps=4500, batch_size=100, lr=5e-3, weight_decay=0.1)


def generate_pixelcnn() -> RunConfig:
    """PixelCNN: masked convolutions, in about 5 minutes; untuned."""
    return _pixels(PixelCNNConfig(channels=16, layers=5), steps=4000, batch_size=16, lr=6e-3)


def generate_gated_pixelcnn() -> RunConfig:
    """Gated PixelCNN: two stacks without a blind spot, in about 5 minutes; untuned."""
    return _pixels(GatedPixelCNNConfig(channels=16, layers=5), steps=4000, batch_size=16, lr=6e-3)


def generate_gated_pixelcnn_long() -> RunConfig:
    """Gated PixelCNN of 32 channels and 7 layers by Muon, in about 40 minutes; LOG.md has what was tried."""
    return _pixels(GatedPixelCNNConfig(), steps=12_000, batch_size=16, lr=7e-3, optimizer=MuonConfig)


def generate_tiny() -> RunConfig:
    """The default's model and data for 20 steps: does everything run? Untuned."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=GenerateConfig(validate_images=100, bayes_images=100),
        training=tiny_training(precision=best_precision()),
    )


def _pixels(
    what: AnyDensityConfig | GenerateConfig,
    *,
    steps: int,
    batch_size: int,
    lr: float,
    weight_decay: float = 0.0,
    optimizer: type[AdamWConfig] | type[MuonConfig] = AdamWConfig,
) -> RunConfig:
    """A density of pixels, in float32."""
    task = what if isinstance(what, GenerateConfig) else GenerateConfig(model=what, label_weight=LABEL_WEIGHT)
    return RunConfig(
        version=RunConfig.VERSION,
        task=task,
        training=TrainingConfig(
            steps=steps,
            batch_size=batch_size,
            optimizer=optimizer(lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay),
            schedule=WarmupCosineConfig(warmup_steps=50, final=0.01),
            validate_every=steps // 8,
            checkpoint_every=steps // 8,
        ),
    )


GENERATE = {
    "default": generate_default,
    "long": generate_long,
    "fvsbn": generate_fvsbn,
    "nade": generate_nade,
    "deepnade": generate_deepnade,
    "made": generate_made,
    "pixelcnn": generate_pixelcnn,
    "gated_pixelcnn": generate_gated_pixelcnn,
    "gated_pixelcnn_long": generate_gated_pixelcnn_long,
    "tiny": generate_tiny,
}
"""By name; a kind of model has the preset of its own name."""
