"""The names of the splits, and the rows of a file that belong to each."""

__all__ = ["SPLITS", "check_split", "rows"]

SPLITS = ("train", "valid", "test")


def check_split(split: str) -> None:
    """Raises ValueError, listing the names, when `split` is none of them."""
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {', '.join(map(repr, SPLITS))}, got {split!r}")


def rows(split: str, count: int) -> slice:
    """The rows of `split` within its file of `count` examples.

    The test split is the whole test file; the validation split is the last sixth (rounded down) of the
    training file, and the training split the rest: 50,000 and 10,000 of MNIST's 60,000.
    """
    check_split(split)
    border = count if split == "test" else count - count // 6
    if border == count and split != "test":
        raise ValueError(
            f"source: the training file holds {count} examples, and its last sixth is the validation split; "
            f"use at least 6"
        )
    return slice(border, count) if split == "valid" else slice(0, border)
