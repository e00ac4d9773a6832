"""What decay does in Adam and in AdamW, as curves and maps."""

from collections.abc import Mapping, Sequence

import numpy as np

from linsight.tasks.exhibits import Curves, Heatmap, Table

__all__ = ["map_exhibits", "shrinkage_exhibits"]


def shrinkage_exhibits(
    scales: Sequence[float], means: Mapping[str, Sequence[float]], *, pure: float, about: str
) -> tuple[Table, Curves]:
    """What is left of weights against the scale of their gradients.

    Args:
        scales: Of the gradients.
        means: Name of the optimiser -> the mean weight for every scale.
        pure: What decay alone leaves.
        about: The experiment in a sentence.
    """
    rows = tuple(
        (f"{scale:g}", *(f"{values[place]:.4f}" for values in means.values()), f"{pure:.4f}")
        for place, scale in enumerate(scales)
    )
    lost = {name: (scales, [1 - value for value in values]) for name, values in means.items()}
    return (
        Table("left", "Mean weight afterwards", ("gradients of scale", *means, "decay alone"), rows, about),
        Curves(
            "lost",
            "What decay takes from a weight",
            {**lost, "decay alone": (scales, [1 - pure] * len(scales))},
            "scale of the gradients",
            "lost of a weight of 1",
            log_x=True,
            note="Coupled decay is divided by the root of the gradients' mean square, like the gradient that "
            "it is part of: large gradients leave nothing of it. Decoupled decay does not see them.",
        ),
    )


def map_exhibits(
    maps: Mapping[str, np.ndarray],
    rates: Sequence[float],
    decays: Mapping[str, Sequence[float]],
    *,
    about: str,
) -> tuple[Heatmap | Table, ...]:
    """Errors by learning rate and decay, a map for each optimiser in colours that mean the same in all.

    Args:
        maps: Name -> errors in percent `(rates, decays)`.
        rates: The rows of all.
        decays: Name -> the columns.
        about: The task in a sentence, with the number of seeds.
    """
    low = min(float(errors.min()) for errors in maps.values())
    high = max(float(errors.max()) for errors in maps.values())
    heatmaps = tuple(
        Heatmap(
            f"map_{place}",
            name,
            errors,
            tuple(f"{rate:g}" for rate in rates),
            tuple(f"{decay:g}" for decay in decays[name]),
            "learning rate",
            "decay",
            note=about,
            low=low,
            high=high,
        )
        for place, (name, errors) in enumerate(maps.items())
    )
    rows = []
    for name, errors in maps.items():
        row, column = divmod(int(errors.argmin()), errors.shape[1])
        rows.append((name, f"{errors.min():.1f}", f"{rates[row]:g}", f"{decays[name][column]:g}"))
    columns = ("", "least error (%)", "learning rate", "decay")
    return (*heatmaps, Table("best", "The best cell of each", columns, tuple(rows), about))
