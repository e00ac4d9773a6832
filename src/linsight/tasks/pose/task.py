"""The task: a crop of a person in, 17 joints out; PCK on bodies that were never seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from linsight.data import People, generated_fingerprint
from linsight.data.geometry import STILL, Augmentation
from linsight.data.keypoint_noise import AnyKeypointNoise
from linsight.data.noise_laws import NoNoise
from linsight.data.people import JOINTS
from linsight.models.vision import KeypointNet, KeypointNetConfig
from linsight.tasks.base import Batch, ComparedConfig, Progress, Split, Task, require_of_model
from linsight.tasks.exhibits import Evaluation, Exhibit
from linsight.tasks.pose.evaluation import pose_evaluation
from linsight.tasks.pose.found import find
from linsight.tasks.pose.measures import accuracy
from linsight.tasks.pose.samples import PeopleKept
from linsight.tasks.pose.together import side_by_side

__all__ = ["PoseConfig", "PoseTask"]

_TARGET = "target."


@dataclass(frozen=True)
class PoseConfig(ComparedConfig):
    """Joints of people in crops, by any codec, from labels whose noise has a known law.

    Args:
        data: The people; those of training, validation and test are different bodies. Without stripes by
            default: a mirrored crop would have them on the wrong side.
        model: Backbone, codec, and what is between; the size of the crops and 17 joints.
        label_noise: The law of labels, training's and those that densities are held against: of residuals in
            shares of the box's larger side, of which a hidden joint has clarity 0 and one that is seen 1; or
            `Swap`, which takes left for right.
        augmentation: Flips, with pairs exchanged, turns, sizes and shifts of training crops.
        num_people: Different people of training.
        validate_people, test_people: How many are looked at during training, and in an evaluation.

    Raises:
        ValueError: Flips of people with stripes; fewer people than one.
    """

    headline: ClassVar[str] = "pck_at_0.2"
    headline_falls: ClassVar[bool] = False
    beside: ClassVar[tuple[str, ...]] = (
        "mean_error_px",
        "oks_AP",
        "coverage_50",
        "coverage_90",
        "label_nll_nats",
        "kl_from_law_nats",
        "head_parameters",
        "head_mega_multiply_adds",
        "milliseconds_per_crop",
    )
    heads: ClassVar[tuple[str, ...]] = (
        "heatmap_msra sigma=1.0",
        "heatmap sigma=1.0",
        "heatmap_udp sigma=1.0",
        "integral",
        "dsnt sigma=1.0",
        "simcc",
        "regression_l1",
        "regression_l2",
        "smooth_l1",
        "wing",
        "nll_laplace",
        "nll_gauss",
        "rle",
        "rle_exact",
    )
    shows_together: ClassVar[bool] = True

    kind: Literal["pose"] = "pose"
    data: People = field(default_factory=lambda: People(stripes=False))
    model: KeypointNetConfig = field(default_factory=KeypointNetConfig)
    label_noise: AnyKeypointNoise = field(default_factory=NoNoise)
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(flip=0.5, degrees=15.0, least=0.85, most=1.15, shift=0.05)
    )
    num_people: int = 20_000
    validate_people: int = 200
    test_people: int = 1000

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        self.require_some("num_people", "validate_people", "test_people")
        if self.augmentation.flip > 0 and not self.data.mirrors:
            raise ValueError(
                "augmentation.flip: expected 0 for people with stripes, which a mirrored crop has on the "
                f"wrong side, got {self.augmentation.flip}; set it to 0, or data.stripes to False"
            )

    @property
    def num_tokens(self) -> int:
        """Tokens of a crop at the finest stride."""
        height, width = self.data.size
        stride = self.model.backbone.strides[0]
        return -(-height // stride) * -(-width // stride)

    def build(self) -> "PoseTask":
        """The task."""
        return PoseTask(self)


class PoseTask(Task[KeypointNet]):
    """The codec's loss, PCK against the clean truth, coverage of noisy labels, skeletons.

    The loss is the mean over the joints of a batch that are within their crops.
    """

    def __init__(self, config: PoseConfig) -> None:
        self.config = config
        model = config.model
        needed = {
            "size": (tuple(model.size), tuple(config.data.size)),
            "joints": (model.joints, len(JOINTS)),
            "backbone.in_channels": (model.backbone.in_channels, 3),
        }
        require_of_model("people", needed)
        with torch.random.fork_rng(devices=[]):
            self.codec = model.build_codec()
        self.people = PeopleKept(config.data, config.num_people)

    @property
    def num_examples(self) -> int:
        """People of an epoch; each has the same, moved in another way."""
        return self.config.num_people

    @property
    def fingerprint(self) -> str:
        """Of what describes people and labels, of the first people, and of their number."""
        first = self.config.data.items("train", np.arange(4))
        law = repr(self.config.label_noise).encode()
        parts = (first.image, first.keypoints, first.visibility, np.frombuffer(law, np.uint8))
        return generated_fingerprint(self.config.data, *parts, np.array(self.num_examples))

    def build_model(self) -> KeypointNet:
        """A fresh network."""
        return self.config.model.build()

    def batch(self, indices: np.ndarray, *, seed: int, epoch: int) -> Batch:
        """image `(batch, 3, height, width)`, and the codec's targets of noisy labels as `target.NAME`."""
        moved = None if self.config.augmentation == STILL else self.config.augmentation
        images, labels, visibility = self.people.moved(
            indices, self.config.label_noise, moved, seed=seed, epoch=epoch
        )
        targets = self.codec.encode(labels.float(), visibility)
        return {"image": images, **{f"{_TARGET}{name}": one for name, one in targets.items()}}

    def loss(self, model: KeypointNet, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The codec's loss and its parts; `nll` is in nats a joint."""
        targets = {name.removeprefix(_TARGET): one for name, one in batch.items() if name != "image"}
        loss, parts = model.codec.loss(model(batch["image"]), targets)
        names = {"nll": "nll_nats_per_joint"}
        return loss, {names.get(name, f"{name}_loss"): one.detach() for name, one in parts.items()}

    def validate(self, model: KeypointNet) -> dict[str, float]:
        """PCK and the mean error on the first people of the validation split, clean truth."""
        config = self.config
        people = config.validate_people
        return accuracy(find(model, config.data, config.label_noise, "valid", people, flip=False))

    def evaluate(
        self, model: KeypointNet, split: Split, *, device: torch.device, progress: Progress | None = None
    ) -> Evaluation:
        """PCK, AUC, errors, OKS AP, the flip test, coverage and likelihood; joints, skeletons, densities.

        The model is left on `device`, in evaluation mode. People are those of seed 0, whatever the run's.
        Those with stripes have no flip test: a mirrored crop of them shows nobody who could be there.
        """
        model = model.to(device).eval()
        data, law, count = self.config.data, self.config.label_noise, self.config.test_people
        found = find(model, data, law, split, count, flip=data.mirrors, progress=progress)
        return pose_evaluation(model, found, law, split)

    def shown_together(
        self, models: Mapping[str, KeypointNet], *, device: torch.device
    ) -> tuple[Exhibit, ...]:
        """The law of the labels beside what each model learnt of it; coverage; PCK."""
        config = self.config
        return side_by_side(models, config.data, config.label_noise, count=config.test_people, device=device)
