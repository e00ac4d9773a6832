"""The table of codecs and the way to build one."""

import inspect
from functools import partial
from typing import Any, cast

from linsight.models.vision.codecs.angles import Bins, Pinball, VonMisesFisher
from linsight.models.vision.codecs.base import Codec
from linsight.models.vision.codecs.heatmap import Heatmap
from linsight.models.vision.codecs.integral import Expectation
from linsight.models.vision.codecs.likelihood import Likelihood
from linsight.models.vision.codecs.regression import Regression
from linsight.models.vision.codecs.rle import RLE
from linsight.models.vision.codecs.simcc import SimCC
from linsight.models.vision.codecs.space import Directions, Space

__all__ = ["CODECS", "codec_names", "codec_options", "make_codec"]

CODECS: dict[str, type[Codec] | partial[Codec]] = {
    "heatmap_msra": partial(Heatmap, convention="rounded", decoder="quarter", shift_flipped=True),
    "heatmap": Heatmap,
    "heatmap_udp": partial(Heatmap, convention="udp", clip=1e-3),
    "integral": Expectation,
    "dsnt": partial(Expectation, distance="l2", divergence=1.0, sharpness=None),
    "simcc": SimCC,
    "regression_l1": Regression,
    "regression_l2": partial(Regression, distance="l2"),
    "smooth_l1": partial(Regression, distance="smooth_l1"),
    "wing": partial(Regression, distance="wing"),
    "nll_laplace": Likelihood,
    "nll_gauss": partial(Likelihood, law="gaussian"),
    "rle": RLE,
    "rle_exact": partial(RLE, variant="exact"),
    "angular": partial(Regression, distance="angular"),
    "cosine": partial(Regression, distance="cosine"),
    "bins": Bins,
    "pinball": Pinball,
    "pinball2": partial(Pinball, own_widths=True),
    "vmf": VonMisesFisher,
}
"""Every codec by name, called with (space, **options)."""


def make_codec(name: str, space: Space, **options: Any) -> Codec:
    """The codec of this name for these points; see `Codec`.

    * `heatmap`: Gaussian maps in half-pixel geometry, read by DARK; `heatmap_udp`, `heatmap_msra` as
      published.
    * `integral`, `dsnt`: the mean of a softmax over the map.
    * `simcc`: a classification of each coordinate.
    * `regression_l1`, `regression_l2`, `smooth_l1`, `wing`: coordinates, by a distance.
    * `nll_laplace`, `nll_gauss`: coordinates with a standard deviation, by a likelihood.
    * `rle`, `rle_exact`: coordinates with a sigma, and a flow that learns the law of the errors.
    * of gaze alone `angular`, `cosine`: by the angle; `bins`: a classification of each angle; `pinball`,
      `pinball2`: an 80 % interval; `vmf`: a law on the sphere.

    Args:
        name: Of `CODECS`.
        space: `Pixels(width, height)` or `Directions()`; maps and `simcc` are of pixels alone.
        options: Of the codec's own; see its class.

    Raises:
        ValueError: An unknown name, or an option that it does not have; what the codec refuses.
        TypeError: A space that the codec is not for.

    Example:
        >>> import torch
        >>> from linsight.models.vision.codecs import Pixels, make_codec
        >>> codec = make_codec("rle_exact", Pixels(width=192, height=256))
        >>> head = codec.head(in_channels=64, keypoints=17)
        >>> targets = codec.encode(192 * torch.rand(2, 17, 2), torch.ones(2, 17, dtype=torch.int64))
        >>> loss, parts = codec.loss(head(torch.rand(2, 64, 8, 6)), targets)
        >>> codec.decode(head(torch.rand(2, 64, 8, 6))).xy.shape
        torch.Size([2, 17, 2])
    """
    if name not in CODECS:
        raise ValueError(f"codec {name!r} is not known; choose one of {', '.join(CODECS)}")
    build = CODECS[name]
    known = codec_options(name)
    for option in options:
        if option not in known:
            raise ValueError(f"codec {name!r} has no option {option!r}; it has {', '.join(known) or 'none'}")
    _kind(name).check_space(space)
    return build(space, **options)


def codec_names(space: Space) -> tuple[str, ...]:
    """The names of the codecs that take these points."""
    return tuple(name for name in CODECS if _takes(name, space))


def codec_options(name: str) -> list[str]:
    """The options that the codec of this name takes in `make_codec`."""
    build = CODECS[name]
    given = build.keywords if isinstance(build, partial) else {}
    parameters = inspect.signature(build).parameters.values()
    return [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in given]


def _takes(name: str, space: Space) -> bool:
    if name in ("angular", "cosine"):
        return isinstance(space, Directions)
    return isinstance(space, _kind(name).spaces)


def _kind(name: str) -> type[Codec]:
    build = CODECS[name]
    return cast(type[Codec], build.func if isinstance(build, partial) else build)
