"""The task: images as bits, maximum likelihood, and the numbers of a trained density."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from linsight.data import binarize, fingerprint, images
from linsight.data.noise import key, uniform
from linsight.densities import AnyPixelDensityConfig, Autoregressive
from linsight.models.sequence import ImageDensityConfig
from linsight.tasks.base import Batch, ComparedConfig, Progress, Split, Task
from linsight.tasks.exhibits import Evaluation, Exhibit
from linsight.tasks.generate.coding import coding_exhibits
from linsight.tasks.generate.known import known_table
from linsight.tasks.generate.likelihood import evaluate_likelihood
from linsight.tasks.generate.pictures import picture_exhibits
from linsight.tasks.generate.speed import speed_exhibits

__all__ = ["AnyDensityConfig", "GenerateConfig", "GenerateTask"]

AnyDensityConfig = ImageDensityConfig | AnyPixelDensityConfig
"""The configuration of one density of images, told apart by `kind`."""


@dataclass(frozen=True)
class GenerateConfig(ComparedConfig):
    """p(x, y) of binarised images.

    Args:
        data: "mnist", or a folder of IDX files in MNIST's layout.
        binarise: How training images become bits: `dynamic` draws them anew at every visit, `fixed` once for
            ever, `threshold` cuts at 127. Validation and test are the fixed draw (the threshold's cut).
        model: The density.
        label_weight: Factor on the label's nats in the training loss, where a label of 2 nats stands beside
            80 of pixels. A heuristic of training: every likelihood weighs them as they are.
        validate_images: How many validation images are looked at during training.
        evaluate_images: How many images of a split are measured, from the first on; None is all. For models
            that take a pass for every pixel; the report says how many they were.
        bayes_images: How many images of a split are classified by Bayes' rule, which takes a pass for every
            label; the report says how many they were.
    """

    headline: ClassVar[str] = "nll_nats_per_image"
    headline_falls: ClassVar[bool] = True
    beside: ClassVar[tuple[str, ...]] = ("coded_bits_per_image", "sampled_images_per_second")

    kind: Literal["generate"] = "generate"
    data: str = "mnist"
    binarise: Literal["dynamic", "fixed", "threshold"] = "dynamic"
    model: AnyDensityConfig = field(default_factory=ImageDensityConfig)
    label_weight: float = 1.0
    validate_images: int = 1000
    evaluate_images: int | None = None
    bayes_images: int = 1000

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        for name in ("validate_images", "evaluate_images", "bayes_images"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if not 0 <= self.label_weight < float("inf"):
            raise ValueError(f"label_weight: expected a finite number >= 0, got {self.label_weight}")

    @property
    def num_tokens(self) -> int:
        """Tokens of an example: the patches or pixels of an image."""
        return self.model.num_cells

    @property
    def comparable(self) -> bool:
        """Whether published figures of binarised MNIST may stand beside ours."""
        return self.data == "mnist" and self.binarise != "threshold"

    def published(self) -> tuple[Exhibit, ...]:
        """Nats of binarised MNIST, where ours are of it too."""
        return (known_table(),) if self.comparable else ()

    def build(self) -> "GenerateTask":
        """The task."""
        return GenerateTask(self)


class GenerateTask(Task[Autoregressive]):
    """Maximum likelihood of p(x, y) over binary images, and everything one can ask of the result."""

    def __init__(self, config: GenerateConfig) -> None:
        self.config = config
        self._splits: dict[Split, tuple[Tensor, Tensor]] = {}
        self.pixels, self.labels = images(config.data, "train")
        height, width = self.pixels.shape[1:]
        if (height, width) != (config.model.height, config.model.width):
            raise ValueError(
                f"model: built for {config.model.height} x {config.model.width} pixels, but the images of "
                f"{config.data!r} are {height} x {width}; set model.height and model.width"
            )
        if config.model.label != "none" and self.labels.max() >= config.model.classes:
            raise ValueError(
                f"model.classes: the labels of {config.data!r} go up to {self.labels.max()}, "
                f"got {config.model.classes} classes"
            )

    @property
    def num_examples(self) -> int:
        """Training images."""
        return len(self.pixels)

    @property
    def fingerprint(self) -> str:
        """Of the pixels, the labels, and the way they become bits."""
        return fingerprint(self.pixels, self.labels, self.config.binarise.encode())

    def build_model(self) -> Autoregressive:
        """The density, with p(y) and the pixels' or patches' frequencies counted on the training split."""
        model = self.config.model.build()
        model.fit_bias(self.split("train")[0][:10_000])
        if model.classes:
            model.fit_prior(torch.from_numpy(np.bincount(self.labels, minlength=model.classes)))
        return model

    def batch(self, indices: np.ndarray, *, seed: int, epoch: int) -> Batch:
        """Bits, labels, a fair coin for the label's place, each a function of (seed, epoch, index).

        And one seed, a function of (seed, epoch, first index), for what a model draws itself.
        """
        place = self.config.model.label
        coins = uniform(key(seed, "generate/label"), indices, 1, epoch=epoch)[:, 0] < 0.5
        drawn = uniform(key(seed, "generate/order"), indices[:1], 1, epoch=epoch)[0, 0]
        first = {"first": np.ones(len(indices), bool), "both": coins}.get(place, np.zeros(len(indices), bool))
        return {
            "x": torch.from_numpy(self._training_bits(indices, seed, epoch)),
            "y": torch.from_numpy(self.labels[indices].astype(np.int64)),
            "label_first": torch.from_numpy(first),
            "seed": torch.tensor(int(2**31 * drawn)),
        }

    def loss(self, model: Autoregressive, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """-log p(x, y) in nats per image under its own factorisation, the label's part weighted."""
        image_nats, label_nats = model.loss(batch["x"], batch["y"], batch["label_first"], int(batch["seed"]))
        logs = {"image_nats": image_nats.mean().detach(), "label_nats": label_nats.mean().detach()}
        return (image_nats + self.config.label_weight * label_nats).mean(), logs

    def validate(self, model: Autoregressive) -> dict[str, float]:
        """The nats of the first validation images, with the label last where there is a choice."""
        x, y = self.split("valid")
        x, y = x[: self.config.validate_images], y[: self.config.validate_images]
        place = "first" if self.config.model.label == "first" else None if model.classes == 0 else "last"
        device = model.log_prior.device
        nats = [
            -model.log_prob(part.to(device), labels.to(device) if model.classes else None, label=place)
            for part, labels in zip(x.split(250), y.split(250), strict=True)
        ]
        return {"joint_nats_per_image": torch.cat(nats).double().mean().item()}

    def evaluate(
        self, model: Autoregressive, split: Split, *, device: torch.device, progress: Progress | None = None
    ) -> Evaluation:
        """Nats, classification both ways, samples, in-painting, bits when compressed, the speed of sampling.

        The model is left on `device`, in evaluation mode.
        """
        model = model.to(device).eval()
        x, y = (part[: self.config.evaluate_images] for part in self.split(split))
        threshold = self.config.binarise == "threshold"
        metrics, tables = evaluate_likelihood(
            model,
            x,
            y,
            split=split,
            training=self.split("train"),
            bayes_images=self.config.bayes_images,
            binarisation="threshold" if threshold else "fixed-v1",
            comparable=self.config.comparable,
            progress=progress,
        )
        pictures = picture_exhibits(model, x, y)
        bits, code = coding_exhibits(model, x, progress=progress)
        speed_metrics, speed = speed_exhibits(model, progress=progress)
        return Evaluation(split, metrics | bits | speed_metrics, (*pictures, *tables, *code, *speed))

    def split(self, split: Split) -> tuple[Tensor, Tensor]:
        """All bits `(number, height, width)` and labels of a split, under the fixed draw (or threshold).

        Drawn once and kept: not to be changed.
        """
        if split not in self._splits:
            pixels, labels = images(self.config.data, split)
            if self.config.binarise == "threshold":
                bits = binarize.threshold(pixels)
            else:
                bits = binarize.fixed(split, self.config.data)
            self._splits[split] = torch.from_numpy(bits.copy()), torch.from_numpy(labels.astype(np.int64))
        return self._splits[split]

    def _training_bits(self, indices: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        if self.config.binarise == "dynamic":
            return binarize.dynamic(self.pixels, indices, seed=seed, epoch=epoch)
        return self.split("train")[0].numpy()[indices]
