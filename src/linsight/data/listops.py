"""ListOps: nested lists of operators on digits, as tokens, with the value of the outermost as label."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Integer

from linsight.data import noise
from linsight.data.draws import Draws, draws_of
from linsight.data.splits import check_split

__all__ = ["LISTOPS", "VOCABULARY", "Expressions", "ListOps", "spell"]

VOCABULARY = ("PAD", *"0123456789", "[MIN", "[MAX", "[MED", "[SM", "]")
"""The token of each id: padding is 0, digit d is d + 1; an operator and its bracket are one token."""

LISTOPS = {"listops-128": (32, 128, 5, 10), "listops-2k": (500, 2000, 10, 10)}
"""The presets by name: fewest and most tokens, depth, arguments."""

_FIRST_OPERATOR = VOCABULARY.index("[MIN")
_CLOSE = VOCABULARY.index("]")
_NESTED = 1 << 14  # of 65,536: an argument is a list with probability 1/4, as in the published generator
_RAREST = 1e-3


class Expressions(NamedTuple):
    """A batch: token ids padded with 0 to the longest row, the rows' lengths, the values (0 to 9)."""

    tokens: Int64[np.ndarray, "number longest"]
    lengths: Int64[np.ndarray, "number"]
    labels: Int64[np.ndarray, "number"]


@dataclass(frozen=True)
class ListOps:
    """Expressions of MIN, MAX, MED and SM over digits; Nangia and Bowman 2018, arXiv 1804.06028.

    MED is the median, of an even number the mean of the middle two rounded down; SM the sum modulo 10. An
    operator has 2 to `max_args` arguments, each number equally often; an argument is a list with probability
    1/4 where `max_depth` allows it, else a digit. Shapes are drawn anew until the number of tokens, brackets
    included, is in range: nothing is ever truncated.

    Operators and digits are drawn independently of the shape; `balanced` draws the label first, each of ten
    equally often, and then operators and digits until they give it. So neither the length nor the shape tells
    anything about the label. (Unbalanced, on `listops-128`, 0 and 9 are 16 % each.)

    Deviation: the long version (Tay et al. 2020, arXiv 2011.04006) draws operators and digits once, without
    balance; the published tokeniser moreover dropped brackets (google-research/long-range-arena #20).

    Args:
        min_length: Fewest tokens, brackets included.
        max_length: Most tokens.
        max_depth: Lists inside each other, the outermost included.
        max_args: Most arguments of an operator.
        balanced: Ten labels equally often.

    Raises ValueError for a range of lengths that the shapes never reach, or less than once in 1,000 draws.
    Cost: 0.26 ms an item of `listops-128`, 2.7 ms of `listops-2k`.

    Example:
        >>> tokens, lengths, labels = ListOps(4, 12, max_depth=2, max_args=3).items("train", np.arange(1))
        >>> spell(tokens[0]), labels.tolist()
        ('[SM 1 1 6 ]', [8])
    """

    min_length: int
    max_length: int
    max_depth: int
    max_args: int
    balanced: bool = True

    num_classes = 10
    chance = 0.1

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        for name, least in (("max_depth", 1), ("max_args", 2), ("min_length", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        if self.max_length < self.min_length:
            raise ValueError(
                f"max_length: expected at least min_length {self.min_length}, got {self.max_length}"
            )
        if self.share_in_range < _RAREST:
            raise ValueError(
                f"min_length, max_length: expressions of depth {self.max_depth} with {self.max_args} "
                f"arguments have {self.min_length} to {self.max_length} tokens with probability "
                f"{self.share_in_range:.1g}, expected at least {_RAREST}; widen the range or the limits"
            )

    @classmethod
    def named(cls, name: str) -> "ListOps":
        """The preset of this name: `listops-128` (32 to 128 tokens) or `listops-2k` (500 to 2,000)."""
        if name not in LISTOPS:
            raise ValueError(f"name: expected one of {', '.join(map(repr, LISTOPS))}, got {name!r}")
        return cls(*LISTOPS[name])

    @cached_property
    def share_in_range(self) -> float:
        """The probability that a shape's length is in range: draws go on until one is."""
        return float(self.length_distribution()[self.min_length :].sum())

    def length_distribution(self) -> Float64[np.ndarray, "tokens"]:
        """P(length of a drawn shape) for 0 to `max_length` tokens; what is missing to 1 is longer.

        Exact, by recursion over the depth: a list is two tokens and its arguments, independent of each other.
        """
        size = self.max_length + 1
        digit = np.zeros(size)
        digit[1:2] = 1
        argument, nested = digit, np.zeros(size)
        for _ in range(self.max_depth):
            total, sums = argument, np.zeros(size)
            for _ in range(2, self.max_args + 1):
                total = np.convolve(total, argument)[:size]
                sums += total / (self.max_args - 1)
            nested = np.concatenate([[0, 0], sums])[:size]
            argument = 0.75 * digit + 0.25 * nested
        return nested

    def items(self, split: str, items: Integer[np.ndarray, "number"], *, seed: int = 0) -> Expressions:
        """These items of a split, each a pure function of (seed, split, item), whatever the batch.

        Raises ValueError for another split than "train", "valid" and "test", or a negative item.
        """
        check_split(split)
        key = noise.key(seed, f"listops/{split}")
        # 16 numbers for each token of the longest shape, where three shapes and eleven labels are drawn.
        rows, labels = [], []
        for draws in draws_of(key, items, 4 * self.max_length):
            row, label = self._draw(draws)
            rows.append(row)
            labels.append(label)
        lengths = np.array([len(row) for row in rows], np.int64)
        tokens = np.zeros((len(rows), lengths.max(initial=0)), np.int64)
        for padded, row in zip(tokens, rows, strict=True):
            padded[: len(row)] = row
        return Expressions(tokens, lengths, np.array(labels, np.int64))

    def _draw(self, draws: Draws) -> tuple[list[int], int]:
        shape = None
        while shape is None:
            shape = self._shape(draws.take(self.max_length))
        wanted = draws.take(1)[0] * 10 >> 16
        while True:
            numbers = draws.take(len(shape))
            label = _value(shape, numbers)
            if label == wanted or not self.balanced:
                return _tokens(shape, numbers), label

    def _shape(self, numbers: list[int]) -> list[int] | None:
        """Arguments of every node in prefix order, 0 for a digit; None if the length is out of range."""
        shape, missing, length = [], [], 0  # missing: arguments still to come, of each open list
        for number in numbers:
            if missing:
                missing[-1] -= 1
            if not missing or (number < _NESTED and len(missing) < self.max_depth):
                count = 2 + ((number % _NESTED) * (self.max_args - 1) >> 14)
                shape.append(count)
                missing.append(count)
                length += 2
            else:
                shape.append(0)
                length += 1
                while missing and missing[-1] == 0:
                    missing.pop()
                if not missing:
                    return shape if self.min_length <= length <= self.max_length else None
        return None  # as many nodes as there may be tokens, and lists still open


def _value(shape: list[int], numbers: list[int]) -> int:
    """The value of the expression: nodes are read backwards, so that arguments come before their list."""
    stack = []
    for count, number in zip(reversed(shape), reversed(numbers), strict=True):
        if count == 0:
            stack.append(number * 10 >> 16)
            continue
        arguments = stack[-count:]
        del stack[-count:]
        operator = number & 3
        if operator == 0:
            stack.append(min(arguments))
        elif operator == 1:
            stack.append(max(arguments))
        elif operator == 2:
            arguments.sort()
            stack.append((arguments[(count - 1) // 2] + arguments[count // 2]) // 2)
        else:
            stack.append(sum(arguments) % 10)
    return stack[0]


def _tokens(shape: list[int], numbers: list[int]) -> list[int]:
    tokens, missing = [], []
    for count, number in zip(shape, numbers, strict=True):
        if missing:
            missing[-1] -= 1
        if count:
            tokens.append(_FIRST_OPERATOR + (number & 3))
            missing.append(count)
        else:
            tokens.append(1 + (number * 10 >> 16))
            while missing and missing[-1] == 0:
                missing.pop()
                tokens.append(_CLOSE)
    return tokens


def spell(tokens: Integer[np.ndarray, "length"]) -> str:
    """The expression as text, padding left out: `[MAX 2 [MIN 4 7 ] 0 ]`."""
    return " ".join(VOCABULARY[token] for token in tokens.tolist() if token)
