"""Names of keypoints, and which of them a mirror exchanges."""

from collections.abc import Sequence

__all__ = ["flip_pairs"]


def flip_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The (left, right) places of the names that differ in `left_` and `right_` alone, in their order.

    Raises ValueError for a name that is there twice, and for a side without its other.

    Example:
        >>> flip_pairs(["nose", "left_eye", "right_eye"])
        ((1, 2),)
    """
    places = {name: place for place, name in enumerate(names)}
    if len(places) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise ValueError(f"names: expected each name once, got {twice!r} twice")
    pairs = []
    for name, place in places.items():
        side, _, part = name.partition("_")
        if side not in ("left", "right"):
            continue
        other = f"{'right' if side == 'left' else 'left'}_{part}"
        if other not in places:
            raise ValueError(f"names: expected {other!r} beside {name!r}, got none")
        if side == "left":
            pairs.append((place, places[other]))
    return tuple(pairs)
