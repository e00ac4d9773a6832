"""Metrics whose state is sums: torchmetrics keeps and reduces the state, the mathematics is ours."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics import Metric

__all__ = ["Estimate", "SumMetric", "require_examples"]

S = TypeVar("S", bound=tuple)


class Estimate(NamedTuple):
    """A mean over examples, the standard error of that mean, and the number of examples behind it."""

    value: Float[Tensor, ""]
    standard_error: Float[Tensor, ""]
    num_examples: Int[Tensor, ""]


class SumMetric(Metric, Generic[S]):
    """A metric whose state is a NamedTuple of sums.

    So that any split of the data into updates, merges and processes gives the same value: integers exactly,
    float64 sums up to rounding. The state stays float64 whatever dtype a surrounding module is cast to.
    Batches may come from any device.

    Args:
        zero: The sums over no examples.
    """

    full_state_update = False
    is_differentiable = False

    def __init__(self, zero: S) -> None:
        super().__init__()
        self._sums_type = type(zero)
        for name, value in _fields(zero):
            self.add_state(name, value, dist_reduce_fx="sum")

    @property
    def sums(self) -> S:
        """The state: the sums over everything seen so far."""
        return self._sums_type(*(getattr(self, name) for name in self._defaults))

    def add(self, part: S) -> None:
        """Add the sums over more examples, on whatever device they are."""
        for name, value in _fields(part):
            state = getattr(self, name)
            setattr(self, name, state + value.to(state.device))

    def merge(self, other: Metric) -> None:
        """Take in what another metric of the same kind has seen; `other` is not changed.

        Raises:
            TypeError: Another kind of metric.
            ValueError: States of different sizes, as of another number of classes or bins.
        """
        if not isinstance(other, SumMetric) or type(other) is not type(self):
            raise TypeError(f"other: expected {type(self).__name__}, got {type(other).__name__}")
        for (name, mine), (_, theirs) in zip(_fields(self.sums), _fields(other.sums), strict=True):
            if mine.shape != theirs.shape:
                raise ValueError(
                    f"other: expected {name} of shape {tuple(mine.shape)}, got {tuple(theirs.shape)}; "
                    "build both metrics with the same options"
                )
        self.add(other.sums)
        self._update_count += other._update_count
        self._computed = None

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """`merge`, or the sums themselves as a dict."""
        if isinstance(incoming_state, dict):
            self.add(self._sums_type(**incoming_state))
            self._update_count += 1
            self._computed = None
        else:
            self.merge(incoming_state)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> nn.Module:
        # `model.to(torch.bfloat16)` reaches metrics inside: sums follow to the device, never to the dtype.
        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        return super()._apply(move, exclude_state)


def require_examples(num_examples: Tensor) -> None:
    """Raise ValueError if a value over no examples is asked for."""
    if num_examples == 0:
        raise ValueError("compute: there are no examples yet; call update with at least one first")


def _fields(sums: tuple) -> list[tuple[str, Tensor]]:
    return list(sums._asdict().items())  # pyright: ignore[reportAttributeAccessIssue]
