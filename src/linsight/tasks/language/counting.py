"""What counting achieves: n-grams of bytes, each order falling back on the one below."""

import numpy as np
from jaxtyping import Float64, Int64

__all__ = ["ngram_log2"]


def ngram_log2(train: bytes, test: bytes, order: int) -> Float64[np.ndarray, "orders bytes"]:
    """log2 p(byte | the n bytes before it) of every test byte, for n = 0 .. `order`.

        p_n(c | h) = (count(h c) + distinct(h) p_(n-1)(c | h')) / (count(h) + distinct(h)),  p_(-1) = 1 / 256

    Witten, Bell 1991: `distinct(h)` is the number of different bytes seen after h, h' is h without its first
    byte, and an h that was never seen gives p_(n-1). The first bytes of `test` have shorter contexts.

    Cost: a sort of `train` for every order; 1 s an order for 4.5 MB.

    Raises:
        ValueError: An order outside 0..6, whose n-grams still fit into 64 bits; an empty text.
    """
    if not 0 <= order <= 6:
        raise ValueError(f"order: expected 0 to 6, got {order}")
    if not train or not test:
        raise ValueError("train, test: expected at least one byte each, got an empty text")
    probability = np.full(len(test), 1 / 256)
    rows = []
    for n in range(order + 1):
        seen, counts = np.unique(_ngrams(train, n + 1), return_counts=True)
        # The n-grams are sorted, so those of one context stand together.
        contexts, starts, distinct = np.unique(seen >> 8, return_index=True, return_counts=True)
        totals = np.add.reduceat(counts, starts) if len(starts) else counts
        asked = _ngrams(test, n + 1)
        above = _lookup(seen, counts, asked)
        kinds, total = _lookup(contexts, distinct, asked >> 8), _lookup(contexts, totals, asked >> 8)
        mixed = (above + kinds * probability[n:]) / np.maximum(total + kinds, 1)
        probability = probability.copy()
        probability[n:] = np.where(total > 0, mixed, probability[n:])
        rows.append(np.log2(probability))
    return np.stack(rows)


def _ngrams(text: bytes, n: int) -> Int64[np.ndarray, "ngrams"]:
    """Every run of n bytes as a number whose lowest byte is the last."""
    values = np.frombuffer(text, np.uint8).astype(np.int64)
    if len(values) < n:
        return values[:0]
    packed = np.zeros(len(values) - n + 1, np.int64)
    for place in range(n):
        packed = (packed << 8) | values[place : place + len(packed)]
    return packed


def _lookup(
    known: Int64[np.ndarray, "known"], values: Int64[np.ndarray, "known"], asked: Int64[np.ndarray, "asked"]
) -> Int64[np.ndarray, "asked"]:
    """The values of what is known, 0 of the rest; `known` is sorted."""
    if len(known) == 0:
        return np.zeros_like(asked)
    place = np.searchsorted(known, asked).clip(max=len(known) - 1)
    return np.where(known[place] == asked, values[place], 0)
