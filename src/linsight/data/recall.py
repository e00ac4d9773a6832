"""Multi-query associative recall: pairs of keys and values to be remembered, then keys to be answered."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, Integer

from linsight.config import Config
from linsight.data import noise

__all__ = ["IGNORED", "RecallData", "Recalled", "recall"]

IGNORED = -100
"""The target where nothing is asked: what `torch.nn.functional.cross_entropy` leaves out."""


@dataclass(frozen=True)
class RecallData(Config):
    """Sequences of multi-query associative recall (MQAR).

    Arora, Eyuboglu, Timalsina, Johnson, Poli, Zou, Rudra, Re 2023, arXiv 2312.04927. Fillers, keys and values
    are three ranges of tokens, in this order, that share none.

    Args:
        length: Tokens of a sequence.
        num_pairs: Pairs at the beginning, key then value.
        num_queries: Keys asked after them; None for as many as there are keys bound. The answer is the token
            after the key.
        num_keys, num_values, num_fillers: Sizes of the three ranges.
        alpha: The power law of places: the s-th one after the pairs is asked with a weight of s^(alpha - 1).
            1 is uniform; the paper's 0.1 asks mostly at once.
        rebind: How many of the pairs bind a key that another pair binds: the later one counts.

    Raises:
        ValueError: A size that leaves nothing to ask, or does not fit into the length.
    """

    length: int = 64
    num_pairs: int = 8
    num_queries: int | None = None
    num_keys: int = 32
    num_values: int = 32
    num_fillers: int = 1
    alpha: float = 0.1
    rebind: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        for name in ("num_pairs", "num_keys", "num_values", "num_fillers", "num_queries"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if not 0 <= self.rebind <= self.num_pairs // 2:
            raise ValueError(
                f"rebind: expected 0 to {self.num_pairs // 2}, half of num_pairs, got {self.rebind}"
            )
        if self.num_pairs - self.rebind > self.num_keys:
            raise ValueError(
                f"num_keys: {self.num_pairs - self.rebind} pairs bind a key of their own, got "
                f"{self.num_keys} keys"
            )
        needed = 2 * self.num_pairs + 2 * self.queries
        if needed > self.length:
            raise ValueError(
                f"length: {self.num_pairs} pairs and {self.queries} queries take {needed} tokens, "
                f"got {self.length}"
            )
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha: expected a finite number above 0, got {self.alpha}")

    @property
    def queries(self) -> int:
        """How many keys are asked: `num_queries`, or one for each key bound."""
        return self.num_pairs - self.rebind if self.num_queries is None else self.num_queries

    @property
    def vocabulary(self) -> int:
        """Tokens of all three ranges."""
        return self.num_fillers + self.num_keys + self.num_values

    @property
    def chance(self) -> float:
        """The accuracy of the best blind guess."""
        return 1 / self.num_values


@dataclass(frozen=True)
class Recalled:
    """Sequences, and what they ask.

    `tokens` `(number, length)`; `targets` `(number, length)`: at a key that is asked the value bound to it,
    `IGNORED` elsewhere; `gaps` `(number, length)`: how many tokens back the answer stands, 0 elsewhere.
    """

    tokens: Int64[np.ndarray, "number length"]
    targets: Int64[np.ndarray, "number length"]
    gaps: Int64[np.ndarray, "number length"]


def recall(
    config: RecallData, items: Integer[np.ndarray, "number"], *, split: str, seed: int = 0
) -> Recalled:
    """The sequences of these numbers: each a pure function of (config, split, seed, number).

    Example:
        >>> config = RecallData(length=10, num_pairs=2, num_keys=4, num_values=4)
        >>> drawn = recall(config, np.arange(1), split="train")
        >>> drawn.tokens.shape, int((drawn.targets != IGNORED).sum())
        ((1, 10), 2)
    """
    pairs, queries, distinct = config.num_pairs, config.queries, config.num_pairs - config.rebind
    places = (config.length - 2 * pairs) // 2
    # The order of these shares of an item's noise is part of what the item is.
    shares = (config.num_keys, pairs, pairs, places, distinct, max(queries - distinct, 0), config.length)
    ends = np.cumsum(shares)
    drawn = noise.uniform(noise.key(seed, f"recall/{split}"), np.asarray(items), int(ends[-1]))
    key_noise, value_noise, order_noise, place_noise, first_noise, rest_noise, filler_noise = np.split(
        drawn, ends[:-1], axis=1
    )

    # Pair p of the row binds key number which[p] of the row's own, the first `rebind` of which come twice.
    order = _permutation(order_noise)
    which = np.concatenate([np.arange(distinct), np.arange(config.rebind)])[order]
    keys = config.num_fillers + _permutation(key_noise)[:, :distinct]
    values = config.num_fillers + config.num_keys + (value_noise * config.num_values).astype(np.int64)
    last = np.zeros((len(drawn), distinct), np.int64)
    for pair in range(pairs):
        np.put_along_axis(last, which[:, pair, None], pair, axis=1)

    # Every key is asked once before any is asked again.
    asked = np.concatenate([_permutation(first_noise), (rest_noise * distinct).astype(np.int64)], axis=1)
    asked = asked[:, :queries]
    answering = np.take_along_axis(last, asked, axis=1)
    answers = np.take_along_axis(values, answering, axis=1)
    at = 2 * pairs + 2 * _places(place_noise, queries, config.alpha)

    tokens = (filler_noise * config.num_fillers).astype(np.int64)
    tokens[:, 0 : 2 * pairs : 2] = np.take_along_axis(keys, which, axis=1)
    tokens[:, 1 : 2 * pairs : 2] = values
    np.put_along_axis(tokens, at, np.take_along_axis(keys, asked, axis=1), axis=1)
    np.put_along_axis(tokens, at + 1, answers, axis=1)
    targets, gaps = np.full_like(tokens, IGNORED), np.zeros_like(tokens)
    np.put_along_axis(targets, at, answers, axis=1)
    np.put_along_axis(gaps, at, at - 2 * answering - 1, axis=1)
    return Recalled(tokens, targets, gaps)


def _permutation(uniform: Float64[np.ndarray, "number count"]) -> Int64[np.ndarray, "number count"]:
    return uniform.argsort(axis=1, kind="stable")


def _places(
    uniform: Float64[np.ndarray, "number places"], count: int, alpha: float
) -> Int64[np.ndarray, "number count"]:
    """`count` places of each row without repetition, place s (from 1) with a weight of s^(alpha - 1).

    The largest of log(u) / weight are such a draw (Efraimidis, Spirakis 2006). Logarithms are rounded to 40
    bits, so that libraries which differ in the last one draw the same places.
    """
    logarithms = np.round(np.log(1 - uniform) * 2.0**36) / 2.0**36
    scores = logarithms * np.arange(1, uniform.shape[1] + 1) ** (1 - alpha)
    return scores.argsort(axis=1, kind="stable")[:, ::-1][:, :count]
