"""Bytes that one of several devices sends in a collective, by the ring algorithms."""

__all__ = ["all_gather_sent", "all_reduce_sent", "passed_around", "reduce_scatter_sent", "share"]


def share(size: int, devices: int) -> int:
    """The most that one device has of `size` things dealt out evenly: size / P, rounded up."""
    return -(-size // devices)


def all_gather_sent(piece: int, devices: int) -> int:
    """What each device sends so that all have the pieces of all.

        (P - 1) piece

    On a ring every device hands on P - 1 pieces, its own first; without multicast nothing sends less in all.
    """
    return (devices - 1) * piece


def reduce_scatter_sent(size: int, devices: int) -> int:
    """What each device sends so that each has its share of the sum of all devices' `size` bytes.

        (P - 1) / P size, the share rounded up to a byte

    A partial sum of each share goes around the ring until it has met every device.
    """
    return (devices - 1) * share(size, devices)


def all_reduce_sent(size: int, devices: int) -> int:
    """What each device sends so that all have the sum of all devices' `size` bytes.

        2 (P - 1) / P size

    A reduce-scatter, then an all-gather of the shares. No algorithm sends less (Patarasuk, Yuan 2009,
    doi 10.1016/j.jpdc.2008.09.002).
    """
    return reduce_scatter_sent(size, devices) + all_gather_sent(share(size, devices), devices)


def passed_around(block: int, devices: int, *, home: bool = False) -> int:
    """What each device sends while every device's block visits all the others, and goes `home` at the end.

    (P - 1) block, or P block with the way home; nothing where there is one device
    """
    return (devices - 1 + home) * block if devices > 1 else 0
