"""What a piece of a row does to the state that it starts from: an affine map, and maps compose."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Piece"]


@dataclass(frozen=True)
class Piece:
    """S -> decay S + written: all that later tokens need to know of the tokens of a piece.

    Every recurrence that is linear in its state is such a map for any number of tokens, and two maps in a row
    are one again: (d_2, w_2) after (d_1, w_1) is (d_2 d_1, d_2 w_1 + w_2). The composition is associative
    (Blelloch 1990, Prefix sums and their applications), so pieces may be computed apart, and in any order.

    Args:
        written: The state after the piece where it started from zeros, batch first.
        decay: What the piece leaves of the state before it: None for all of it; numbers that broadcast
            against the state; or, with `matrix`, matrices `(..., N, N)` that multiply states `(..., N, V)`.
        matrix: Whether the decay is a matrix.

    Cost: of `apply` and `then`, one product of the decay with a state; O(N^2 (N + V)) for a matrix.

    Example:
        >>> import torch
        >>> first, second = Piece(torch.tensor([1.0]), torch.tensor(0.5)), Piece(torch.tensor([3.0]))
        >>> first.then(second)(torch.tensor([4.0]))
        tensor([6.])
    """

    written: Tensor
    decay: Tensor | None = None
    matrix: bool = False

    def __call__(self, state: Tensor | None) -> Tensor:
        """The state after the piece; None stands for zeros before it."""
        return self.written if state is None else self._kept(state) + self.written

    def then(self, later: "Piece") -> "Piece":
        """This piece and the later one of the same recurrence, as one.

        Raises:
            ValueError: One decays by a matrix, and the other by numbers.
        """
        written = later(self.written)
        if self.decay is None or later.decay is None:
            one = later if self.decay is None else self
            return Piece(written, one.decay, one.matrix)
        if self.matrix != later.matrix:
            raise ValueError("later: expected a piece of the same recurrence, got matrix and numbers")
        return Piece(written, later._kept(self.decay), self.matrix)

    def _kept(self, state: Tensor) -> Tensor:
        if self.decay is None:
            return state
        return self.decay @ state if self.matrix else self.decay * state
