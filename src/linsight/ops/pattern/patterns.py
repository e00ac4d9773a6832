"""Which keys a query attends to, by their places in the sequence."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Fixed", "Part", "Pattern", "Strided", "Window"]

Part = Literal["both", "first", "second"]


class Pattern(ABC):
    """The set N(i) of the places j that a query at place i attends to, as two parts that do not overlap.

    The **near** part lies within `reach` places of i; the **far** part is every j that `far` accepts, and
    `far_places` lists candidates for it. i and j are int64 tensors that broadcast; j may be negative or
    beyond the last key, which the caller takes care of.
    """

    causal: bool
    """Whether no j of N(i) is beyond i."""

    @property
    @abstractmethod
    def reach(self) -> tuple[int, int]:
        """How many places before and behind i the near part reaches at most."""

    @property
    @abstractmethod
    def segment(self) -> int:
        """How many neighbouring queries are computed together."""

    @abstractmethod
    def near(self, i: Tensor, j: Tensor) -> Tensor:
        """Whether j is in the near part of N(i)."""

    def far(self, i: Tensor, j: Tensor) -> Tensor | None:
        """Whether j is in the far part of N(i); None where no pattern of this kind has one."""
        return None

    def far_places(self, start: Tensor, rows: int, columns: int, before: int, length: int) -> Tensor:
        """Candidates for the far part, `(batch or 1, groups, candidates)`.

        Args:
            start: Place of the first query, `(batch or 1)`.
            rows, columns: The queries are cut into `rows` segments of `columns` queries.
            before: An upper bound of `start`.
            length: An upper bound of every key's place.

        `groups` is 1 if all queries share the candidates, or `columns` if queries in the same column do.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Window(Pattern):
    """N(i) = {i-width+1..i}, or |i - j| <= width where not causal (Beltagy et al. 2020, arXiv 2004.05150)."""

    width: int
    causal: bool = True

    @property
    def reach(self):
        """The window."""
        return (self.width - 1, 0) if self.causal else (self.width, self.width)

    @property
    def segment(self):
        """A window, so that half of every block is used; 16 at least, since a block has a cost of its own."""
        return max(self.width, 16)

    def near(self, i, j):
        """All of N(i)."""
        back, ahead = self.reach
        return (j >= i - back) & (j <= i + ahead)


@dataclass(frozen=True)
class Strided(Pattern):
    """A1(i) = {i-stride..i} and A2(i) = {j <= i : (i - j) mod stride = 0}.

    Child, Gray, Radford, Sutskever 2019, arXiv 1904.10509. `part` takes the union, or one of the two. Not
    causal: A1 is |i - j| <= stride, and A2 all j of i's column.
    """

    stride: int
    part: Part = "both"
    causal: bool = True

    @property
    def reach(self):
        """A1's; A2 alone has no near part."""
        return (0, 0) if self.part == "second" else (self.stride, 0 if self.causal else self.stride)

    @property
    def segment(self):
        """A row of the raster."""
        return self.stride

    def near(self, i, j):
        """A1; of A2 alone the token itself."""
        back, ahead = self.reach
        return (j >= i - back) & (j <= i + ahead)

    def far(self, i, j):
        """A2 without what is near."""
        if self.part == "first":
            return None
        return ((i - j) % self.stride == 0) & ~self.near(i, j) & ((j <= i) | (not self.causal))

    def far_places(self, start, rows, columns, before, length):
        """The columns of the raster, each for the queries in it."""
        device = start.device
        steps = torch.arange(-before // self.stride, rows, device=device) * self.stride
        return start[:, None, None] + torch.arange(columns, device=device)[:, None] + steps


@dataclass(frozen=True)
class Fixed(Pattern):
    """A1(i) = {j <= i : j in i's block of `stride`} and A2(i) = {j <= i : j mod stride >= stride - columns}.

    Child, Gray, Radford, Sutskever 2019, arXiv 1904.10509; blocks lie at absolute places, and the last
    `columns` of each are what later blocks see of it. `part` takes the union, or one of the two; A2 alone is
    empty for i < stride - columns. Not causal: without j <= i.
    """

    stride: int
    columns: int
    part: Part = "both"
    causal: bool = True

    @property
    def reach(self):
        """A block's; A2 alone has no near part."""
        back = 0 if self.part == "second" else self.stride - 1
        return back, 0 if self.causal else back

    @property
    def segment(self):
        """A block's length; segments need not lie on blocks."""
        return self.stride

    def near(self, i, j):
        """A1; nothing of A2 alone."""
        if self.part == "second":
            return (i != i) & (j != j)
        within = torch.div(i, self.stride, rounding_mode="floor") == torch.div(
            j, self.stride, rounding_mode="floor"
        )
        return within & ((j <= i) | (not self.causal))

    def far(self, i, j):
        """A2 without what is near."""
        if self.part == "first":
            return None
        summary = j % self.stride >= self.stride - self.columns
        return summary & ~self.near(i, j) & ((j <= i) | (not self.causal))

    def far_places(self, start, rows, columns, before, length):
        """The last columns of all blocks, for all queries."""
        device = start.device
        blocks = torch.arange(-(-length // self.stride), device=device) * self.stride
        last = torch.arange(self.stride - self.columns, self.stride, device=device)
        return (blocks[:, None] + last).reshape(1, 1, -1)
