"""What a run is: a task, and how its model is trained."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from linsight.config import Config
from linsight.models.sequence import TokenModelConfig
from linsight.optim import AdamWConfig, OptimizerConfig, ScheduleConfig, WarmupCosineConfig
from linsight.tasks.classify import ClassifyConfig
from linsight.tasks.detect import DetectConfig
from linsight.tasks.gaze import GazeConfig
from linsight.tasks.gaze_video import GazeVideoConfig
from linsight.tasks.generate import GenerateConfig
from linsight.tasks.language import LanguageConfig
from linsight.tasks.pose import PoseConfig
from linsight.tasks.recall import RecallConfig
from linsight.tasks.segment import SegmentConfig

__all__ = ["Precision", "PublishedConfig", "RunConfig", "TaskConfig", "TrainingConfig"]

Precision = Literal["float32", "bfloat16"]

TaskConfig = (
    ClassifyConfig
    | DetectConfig
    | GazeConfig
    | GazeVideoConfig
    | GenerateConfig
    | LanguageConfig
    | PoseConfig
    | RecallConfig
    | SegmentConfig
)
"""Any task's configuration, told apart by `kind`; it has `build() -> Task`."""


@dataclass(frozen=True)
class TrainingConfig(Config):
    """How a model is trained. A step is one update of the weights, counted from 1.

    Args:
        steps: Updates in the whole run, >= 1.
        batch_size: Examples per update, >= 1, however they are accumulated.
        accumulate: Equal parts in which a batch is computed, one after another, to save memory; it divides
            `batch_size`. The gradient is the same up to rounding.
        seed: Of the initial weights, of the order of the examples, of their augmentation and of dropout.
        optimizer: The optimiser and the learning rate at factor 1 of the schedule.
        schedule: The factor on the learning rate as a function of the step.
        clip_norm: Largest norm of the whole gradient, > 0; a longer one is shortened to it. None: never.
        precision: `bfloat16` computes matrix products so by autocast, with weights, optimiser state and loss
            in float32; `float32` computes everything so.
        compile: Whether the loss is compiled by `torch.compile`: the first step takes minutes, and the last
            digits are others. On a processor it needs a C++ compiler.
        workers: Threads that prepare the next batches while a step is computed, >= 0; they change no batch.
            For GPUs: on a processor they take the cores from the step, which may last twice as long.
        log_every: Steps between rows of `metrics.csv`; a row is the mean over the steps since the last.
        validate_every: Steps between looks at the validation split; the last step is always one.
        checkpoint_every: Steps between checkpoints; the last step is always one.
        keep: Checkpoints kept, >= 1; older ones are deleted.
        background_checkpoints: Whether a checkpoint is written while the steps after it are computed; it is
            copied first, so that memory holds model and optimiser once more. One at a time.

    Raises:
        ValueError: A value outside its range, or a schedule that does not fit into `steps`.
    """

    steps: int
    batch_size: int
    accumulate: int = 1
    seed: int = 0
    optimizer: OptimizerConfig = field(default_factory=AdamWConfig)
    schedule: ScheduleConfig = field(default_factory=WarmupCosineConfig)
    clip_norm: float | None = 1.0
    precision: Precision = "float32"
    compile: bool = False
    workers: int = 0
    log_every: int = 20
    validate_every: int = 500
    checkpoint_every: int = 500
    keep: int = 2
    background_checkpoints: bool = False

    def __post_init__(self) -> None:
        """Refuse values that no training can have."""
        counts = (
            "steps",
            "batch_size",
            "accumulate",
            "log_every",
            "validate_every",
            "checkpoint_every",
            "keep",
        )
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected an integer >= 1, got {getattr(self, name)}")
        if self.workers < 0:
            raise ValueError(f"workers: expected an integer >= 0, got {self.workers}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed: expected an integer in [0, 2**63), got {self.seed}")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate: expected a divisor of batch_size {self.batch_size}, got {self.accumulate}"
            )
        if self.clip_norm is not None and not 0 < self.clip_norm < float("inf"):
            raise ValueError(f"clip_norm: expected a finite number > 0, or None, got {self.clip_norm}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision: expected 'float32' or 'bfloat16', got {self.precision!r}")
        self.schedule.check(self.steps)


@dataclass(frozen=True)
class RunConfig(Config):
    """A run, complete: nothing is derived from it after it was parsed.

    For a task of one's own, subclass it with another annotation of `task`:

        @dataclass(frozen=True)
        class MyRun(RunConfig):
            task: MyTaskConfig
    """

    VERSION: ClassVar[int] = 1

    version: int
    task: TaskConfig
    training: TrainingConfig


@dataclass(frozen=True)
class PublishedConfig(Config):
    """A model whose weights no run of ours has made: what it is, and in words where they are from."""

    VERSION: ClassVar[int] = 1

    version: int
    source: str
    model: TokenModelConfig
    kind: Literal["published"] = "published"
