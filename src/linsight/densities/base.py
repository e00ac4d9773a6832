"""What every density over binary images offers, and the checks that all of them make."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

__all__ = ["Density", "check_images", "check_labels", "check_temperature"]


class Density(nn.Module, ABC):
    """A normalised probability of binary images x and, where it is joint, of labels y; all in nats.

    Images are `(batch, height, width)` of values 0 and 1 in any integer dtype or bool; labels `(batch,)`
    integers in 0..classes-1; results `(batch,)` in the dtype of the weights.
    """

    height: int
    width: int
    classes: int
    """Number of labels; 0 where the density knows none."""

    @abstractmethod
    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Float[Tensor, " batch"]:
        """log p(x), or log p(x, y) when labels are given. `exp` of it sums to 1 over the whole space."""

    @abstractmethod
    def class_log_prob(self, x: Tensor) -> Float[Tensor, "batch classes"]:
        """log p(y | x) of every label, normalised."""

    @abstractmethod
    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> UInt8[Tensor, "batch height width"]:
        """n images drawn from p(x), or from p(x | y); at a temperature other than 1 from another law."""

    def log_prob_given(self, x, y) -> Float[Tensor, " batch"]:
        """log p(x | y)."""
        raise ValueError(f"y: {type(self).__name__} is not conditional on labels")


def check_images(x: Tensor, height: int, width: int, *, name: str = "x") -> None:
    """Refuse whatever is not a batch of binary images of this size; `name` is the argument's."""
    if x.ndim != 3 or x.shape[1:] != (height, width):
        raise ValueError(
            f"{name}: expected shape (batch, height {height}, width {width}), got {tuple(x.shape)}"
        )
    if x.dtype != torch.bool and not ((x == 0) | (x == 1)).all():
        raise ValueError(
            f"{name}: expected pixels 0 and 1, got values from "
            f"{x.min().item():g} to {x.max().item():g}; binarise grey images first"
        )


def check_labels(y: Tensor, batch: int, classes: int) -> None:
    """Refuse whatever is not one integer label in range for each image."""
    if y.is_floating_point() or y.dtype == torch.bool:
        raise TypeError(f"y: expected integer labels, got {y.dtype}")
    if y.shape != (batch,):
        raise ValueError(f"y: expected shape ({batch},), one label for each image, got {tuple(y.shape)}")
    if classes == 0:
        raise ValueError("y: this density was built without labels")
    if ((y < 0) | (y >= classes)).any():
        raise ValueError(f"y: expected labels 0 to {classes - 1}, got {int(y.min())} to {int(y.max())}")


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that is not positive."""
    if not temperature > 0:
        raise ValueError(f"temperature: expected a number above 0, got {temperature}")
