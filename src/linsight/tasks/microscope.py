"""The likelihood under the microscope: a known law of errors, and what a density learns of it by itself."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from linsight.data.noise_laws import AnyNoiseLaw
from linsight.metrics import coverage_compute, coverage_update
from linsight.models.vision.codecs import Pixels, ScaledCodec, codec_from_words

__all__ = ["Recovered", "recover"]

_LEARNING_RATE = 3e-3
_OF_HEAD = 3e-2  # sigma begins at half a crop, and has a long way to go


@dataclass(frozen=True)
class Recovered:
    """A codec that has seen nothing but residuals of a law, and how near to the law it came.

    Args:
        law: Of the residuals.
        codec: Its flow, if it has one, fitted.
        mean: Where it says that the truth is; the truth is at 0.
        sigma: Its scale along both axes. Of RLE it is no scale of the residuals: what is not in sigma is in
            the flow, and with one law at all places the losses let sigma grow.
        kl_nats: KL(law || learnt), the mean of log law - log learnt over fresh residuals of the law, and its
            standard error.
        kl_standard_error: See `kl_nats`.
        coverage: The share of fresh residuals within the regions that should hold 50, 80 and 90 %.
    """

    law: AnyNoiseLaw
    codec: ScaledCodec
    mean: Float[Tensor, " 2"]
    sigma: Float[Tensor, " 2"]
    kl_nats: float
    kl_standard_error: float
    coverage: tuple[float, float, float]

    @torch.no_grad()
    def log_prob(self, residual: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """The log density in nats that was learnt, of label - truth in the unit of the law."""
        error = self.mean - residual
        return -self.codec.nlls(error, self.sigma.expand_as(error))


def recover(
    law: AnyNoiseLaw,
    codec: str = "rle_exact",
    *,
    steps: int = 400,
    batch: int = 256,
    fresh: int = 20_000,
    seed: int = 0,
) -> Recovered:
    """Fit a codec to labels of a known law, with a constant for a network: is its density the law?

    There is one joint, always at the same place, and a head whose feature is always 1: two numbers for the
    mean, two for sigma, and what the codec itself learns. Labels are the place and a residual of the law, new
    at each step; the loss is the codec's own. What a network gets wrong is thus left out, and what remains
    between the law and the density is the likelihood's own doing.

    Args:
        law: Of residuals, in crops; its clarity, if it needs one, is 1.
        codec: NAME or NAME OPTION=VALUE ... of a density, see `make_codec`.
        steps: Of Adam, the learning rate falling to 0 by half a cosine.
        batch: Labels of a step.
        fresh: Labels that it is then held against.
        seed: Of weights and labels.

    Cost: a pass of the codec's loss over `batch` joints in every step: 4 to 6 seconds of a core for RLE.

    Raises:
        ValueError: A codec without a density, or that does not exist; a law without one; counts below 1.
    """
    for name, value in (("steps", steps), ("batch", batch), ("fresh", fresh)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    if law.kind == "none":
        raise ValueError("law: expected one with a density, got 'none'")
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        density = codec_from_words(codec, Pixels(1, 1))
        if not isinstance(density, ScaledCodec):
            raise ValueError(f"codec: expected one with a density, as rle or nll_laplace, got {codec!r}")
        head = density.head(1, 1)
    feature = torch.ones(1, 1, 1, 1)

    def labels(number: int) -> tuple[Tensor, dict[str, Tensor]]:
        clear = torch.ones(number, 1, dtype=torch.float64)
        residual = law.sample(generator, (number, 1, 2), clear)
        # Not by `encode`: the place is the middle of the crop, and no label is beyond it.
        targets = {"mean": (0.5 + residual).float(), "weight": torch.ones(number, 1)}
        return residual, targets

    weights = [*head.parameters(), *density.parameters()]
    parts = ((head, _OF_HEAD), (density, _LEARNING_RATE))
    groups = [{"params": list(part.parameters()), "lr": rate} for part, rate in parts]
    optimizer = torch.optim.Adam([group for group in groups if group["params"]])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        outputs = {name: one.expand(batch, -1, -1) for name, one in head(feature).items()}
        loss, _ = density.loss(outputs, labels(batch)[1])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 10.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        outputs = {name: one.expand(fresh, -1, -1) for name, one in head(feature).items()}
        residual, targets = labels(fresh)
        log_law = law.log_prob(residual, torch.ones(fresh, 1, dtype=torch.float64))
        excess = (log_law + density.nll(outputs, targets))[:, 0]
        level = density.level(outputs, targets)
    coverage = coverage_compute(coverage_update(level, (0.5, 0.8, 0.9))).coverage.tolist()
    return Recovered(
        law,
        density,
        outputs["mean"][0, 0] - 0.5,
        outputs["sigma"][0, 0].expand(2),
        float(excess.mean()),
        float(excess.std() / math.sqrt(fresh)),
        (coverage[0], coverage[1], coverage[2]),
    )
