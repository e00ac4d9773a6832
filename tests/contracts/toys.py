"""Densities small enough to enumerate: every image of 8 to 12 bits, a law to learn, chi-square of samples."""

import functools
import itertools
from dataclasses import dataclass
from typing import Any, Literal

import torch
from scipy import stats
from torch import Tensor

from linsight import densities, mixers
from linsight.densities import Autoregressive, Given, PixelDensity
from linsight.densities.pixelwise import OrderedPixelConfig
from linsight.models.sequence import ImageDensity, ImageDensityConfig, SequenceConfig

CLASSES = 3
PRIOR = torch.tensor([5, 3, 2])


@functools.cache
def every_image(height: int, width: int) -> Tensor:
    """All images of 0 and 1, `(2 ** (height * width), height, width)`; image i is i in binary."""
    bits = torch.tensor(list(itertools.product((0, 1), repeat=height * width)), dtype=torch.uint8)
    return bits.reshape(-1, height, width)


def index_of(images: Tensor) -> Tensor:
    """Where in `every_image` each image stands."""
    flat = images.flatten(1).long()
    return (flat << torch.arange(flat.shape[1] - 1, -1, -1)).sum(1)


def prefix(density: Autoregressive, images: Tensor, count: int) -> Given:
    """Images of which the first `count` cells are known."""
    mask = torch.zeros(images[0].numel(), dtype=torch.bool)
    mask[density.order[: count * density.cell_pixels]] = True
    return Given(images, mask.view(images.shape[1:]))


def lawful(height: int, width: int, number: int) -> tuple[Tensor, Tensor]:
    """Images with a law worth learning: class templates, 15 % of pixels flipped, the last = the first."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.multinomial(PRIOR.double(), number, replacement=True, generator=generator)
    templates = torch.rand(CLASSES, height * width, generator=generator) < 0.5
    flips = torch.rand(number, height * width, generator=generator) < 0.15
    bits = templates[labels] ^ flips
    bits[:, -1] = bits[:, 0]
    return bits.reshape(number, height, width).to(torch.uint8), labels


@dataclass(frozen=True)
class Toy:
    """One configuration of an image density: of patches and a mixer, or of pixels and a kind with options."""

    height: int
    width: int
    patch: tuple[int, int]
    label: Literal["none", "first", "last", "both"]
    mixer: str = "linear"
    kind: str = ""
    options: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        size = f"{self.height}x{self.width}"
        if self.kind:
            return "-".join(
                [self.kind, size, self.label, *(f"{name}={value}" for name, value in self.options)]
            )
        return f"{size}-by-{self.patch[0]}x{self.patch[1]}-{self.label}-{self.mixer}"

    @property
    def images(self) -> Tensor:
        return every_image(self.height, self.width)

    @property
    def places(self) -> tuple[Literal["first", "last"] | None, ...]:
        """What `label=` may say: the density itself, and each factorisation of one that has both."""
        return (None, "first", "last") if self.label == "both" else (None,)

    @property
    def joint(self) -> bool:
        return self.label != "none"

    def build(self, seed: int = 0) -> Any:
        """A density in float64 with the weights of `seed`, its prior counted."""
        torch.manual_seed(seed)
        density = self._pixels() if self.kind else self._patches()
        if self.joint:
            density.fit_prior(PRIOR)
        return density.to(torch.float64)

    def _pixels(self) -> PixelDensity:
        return densities.build(
            self.kind, height=self.height, width=self.width, classes=CLASSES, label=self.label,
            **dict(self.options),
        )  # fmt: skip

    def _patches(self) -> ImageDensity:
        options = {"positions": "rotary"} if self.mixer == "softmax" else {}
        return ImageDensityConfig(
            height=self.height,
            width=self.width,
            patch=self.patch,
            classes=CLASSES if self.joint else 0,
            label=self.label,
            sequence=SequenceConfig(
                dim=8, layers=2, mlp_dim=16, mixers=(mixers.config(self.mixer, heads=2, **options),)
            ),
        ).build()

    def trained(self, steps: int = 50) -> Any:
        """The density after `steps` of Adam on `lawful` images; the same object at every call."""
        return _trained(self, steps)


@functools.cache
def _trained(toy: Toy, steps: int) -> Any:
    density = toy.build()
    optimiser = torch.optim.Adam(density.parameters(), lr=0.02)
    x, y = lawful(toy.height, toy.width, 1600)
    for step in range(steps):
        images, labels = (data[32 * step % 1600 :][:32] for data in (x, y))
        optimiser.zero_grad()
        loss = -density.log_prob(images, labels if toy.joint else None).mean()
        loss.backward()
        optimiser.step()
    return density.eval().requires_grad_(False)


def pixels(kind: str, **options: object) -> list[Toy]:
    """Toys of a density of pixels: every place of the label, both sizes, both orders where it has them."""
    chosen = tuple(options.items())
    toys = [
        *(Toy(2, 4, (1, 1), label, kind=kind, options=chosen) for label in ("none", "first", "last")),
        Toy(3, 3, (1, 1), "both", kind=kind, options=chosen),
    ]
    if not isinstance(densities.config(kind), OrderedPixelConfig):
        return [*toys, Toy(2, 4, (1, 1), "both", kind=kind, options=chosen)]
    random = (*chosen, ("order", "random"))
    return [
        *toys,
        Toy(2, 4, (1, 1), "both", kind=kind, options=random),
        Toy(3, 3, (1, 1), "none", kind=kind, options=random),
    ]


PIXEL_TOYS = [
    *pixels("fvsbn"),
    *pixels("nade", hidden=8, block=3),
    *pixels("deepnade", hidden=16, block=3),
    Toy(2, 4, (1, 1), "both", kind="deepnade", options=(("hidden", 16), ("block", 3), ("orders", 2))),
    *pixels("pixelcnn", channels=4, layers=2),
    *pixels("gated_pixelcnn", channels=4, layers=2),
    *pixels("made", hidden=(12, 10)),
    Toy(2, 4, (1, 1), "both", kind="made", options=(("hidden", (24,)), ("degrees", "random"), ("orders", 3))),
]
"""Every kind of `densities.kinds()`; test_densities.py sees to it that none is left out."""


def logits_in_order(density: Any, x: Tensor, y: Tensor | None) -> Tensor:
    """`(batch, cells, values)`: every cell's logits at its place in the first member's order."""
    if isinstance(density, ImageDensity):
        return density.token_logits(x, y)
    return density.logits(x, y).flatten(1)[:, density.order, None]


def chi_square(samples: Tensor, log_p: Tensor, images: Tensor) -> float:
    """p-value of `samples` under `log_p` of `images`; cells that expect fewer than 5 are merged."""
    place = torch.full((int(index_of(images).max()) + 1,), -1)
    place[index_of(images)] = torch.arange(len(images))
    index = index_of(samples)
    assert (index < len(place)).all(), "a sample lies outside the support"
    assert (place[index] >= 0).all(), "a sample lies outside the support"
    observed = torch.bincount(place[index], minlength=len(images)).double()
    expected = len(samples) * log_p.double().exp()
    order = expected.argsort()
    small = int((expected < 5).sum())
    merged = (expected[order[:small]].cumsum(0) / 10).floor().long()
    cells = torch.cat([merged, torch.arange(len(order) - small) + (merged.max() + 1 if small else 0)])
    observed, expected = (
        torch.zeros(int(cells.max()) + 1).double().index_add_(0, cells, z[order])
        for z in (observed, expected)
    )
    return float(
        stats.chisquare(observed.numpy(), (expected * observed.sum() / expected.sum()).numpy()).pvalue
    )
