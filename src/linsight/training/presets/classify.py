"""Presets of `classify`."""

from linsight.mixers import config as mixer
from linsight.models.sequence import ClassifierConfig, SequenceConfig
from linsight.optim import AdamWConfig, WarmupCosineConfig
from linsight.tasks.classify import ClassifyConfig
from linsight.training.config import RunConfig, TrainingConfig
from linsight.training.presets.tiny import tiny_training

__all__ = [
    "classify_default",
    "classify_listops",
    "classify_pathfinder",
    "classify_pmnist",
    "classify_smnist",
    "classify_tiny",
]


def classify_default() -> RunConfig:
    """Digits in 56 patches of 14 pixels, in about 3 minutes; LOG.md has the runs behind its values."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=ClassifyConfig(model=_model(), validate_examples=5000),
        training=TrainingConfig(
            steps=2400,
            batch_size=64,
            optimizer=AdamWConfig(lr=6e-3, betas=(0.9, 0.99), weight_decay=0.05),
            schedule=WarmupCosineConfig(warmup_steps=40, final=0.02),
            validate_every=600,
            checkpoint_every=240,
        ),
    )


def classify_tiny() -> RunConfig:
    """The default's model and data for 20 steps: does everything run? Untuned."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=ClassifyConfig(model=_model(), validate_examples=100),
        training=tiny_training(),
    )


def classify_listops() -> RunConfig:
    """ListOps of up to 128 tokens, token by token; untuned."""
    model = ClassifierConfig(vocabulary=16, max_length=128, sequence=_model().sequence)
    return _generated(ClassifyConfig(data="listops-128", model=model))


def classify_pathfinder() -> RunConfig:
    """Pathfinder of 32 x 32 pixels in 256 patches of 4; untuned."""
    model = ClassifierConfig(patch=4, max_length=256, classes=2, sequence=_model().sequence)
    return _generated(ClassifyConfig(data="pathfinder-32-easy", model=model))


def classify_pmnist() -> RunConfig:
    """Permuted MNIST, one pixel a token, with the HiPPO-RNN, which has no parallel form."""
    sequence = SequenceConfig(dim=32, layers=1, mlp_dim=64, mixers=(mixer("hippo", hidden=128, order=64),))
    model = ClassifierConfig(max_length=None, pooling="last", sequence=sequence)
    return RunConfig(
        version=RunConfig.VERSION,
        task=ClassifyConfig(data="pmnist", model=model),
        training=TrainingConfig(
            steps=350,
            batch_size=64,
            optimizer=AdamWConfig(lr=5e-3, betas=(0.9, 0.99), weight_decay=0.05),
            schedule=WarmupCosineConfig(warmup_steps=50, final=0.02),
            validate_every=350,
            checkpoint_every=50,
        ),
    )


def classify_smnist() -> RunConfig:
    """Sequential MNIST, one pixel a token, with S4D or --mixer s4, in about 5 minutes."""
    sequence = SequenceConfig(dim=48, layers=3, mlp_dim=96, mixers=(mixer("s4d"),))
    return RunConfig(
        version=RunConfig.VERSION,
        task=ClassifyConfig(model=ClassifierConfig(max_length=None, sequence=sequence)),
        training=TrainingConfig(
            steps=700,
            batch_size=64,
            optimizer=AdamWConfig(lr=1e-2, betas=(0.9, 0.99), weight_decay=0.05),
            schedule=WarmupCosineConfig(warmup_steps=50, final=0.02),
            validate_every=350,
            checkpoint_every=100,
        ),
    )


def _generated(task: ClassifyConfig) -> RunConfig:
    training = TrainingConfig(
        steps=2000,
        batch_size=32,
        optimizer=AdamWConfig(lr=3e-3, betas=(0.9, 0.99), weight_decay=0.05),
        schedule=WarmupCosineConfig(warmup_steps=100, final=0.02),
    )
    return RunConfig(version=RunConfig.VERSION, task=task, training=training)


def _model() -> ClassifierConfig:
    sequence = SequenceConfig(dim=64, layers=2, mlp_dim=128, mixers=(mixer("linear", heads=4),))
    return ClassifierConfig(patch=14, max_length=56, sequence=sequence)
