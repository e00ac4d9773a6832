"""A stage of a backbone: a stack of blocks over the pixels of one map, with positions in two dimensions."""

from dataclasses import replace
from typing import Any, Literal, cast

from jaxtyping import Float
from torch import Tensor, nn

from linsight.mixers import MixerConfig, config
from linsight.models.sequence import Block, SequenceConfig, Stack
from linsight.models.vision.parts import convolve

__all__ = ["Positions", "Scan", "Stage", "both_ways"]

Positions = Literal["convolution", "none"]
Scan = Literal["alternate", "rows"]


class Stage(nn.Module):
    """Blocks over all pixels of a map, each seeing all others: `(batch, dim, height, width)` to the same.

    Pixels are tokens in raster order. Where they stand is told twice: by a depthwise 3 x 3 convolution with
    zeros around before the first block (Chu et al. 2021, arXiv 2102.10882), which works at any size, and,
    for mixers to which the order of tokens matters, by reading the map along its rows in one block and
    along its columns in the next (`alternate`; Liu et al. 2024, arXiv 2401.10166, read it four ways in every
    block). Kinds of mixers that are only causal are run from both ends. A norm comes last.

    Convolutions before the blocks, x + GELU(norm(conv(x))), see details together before the mixer averages
    over the map: networks of a few minutes need them (Xiao et al. 2021, arXiv 2106.14881, for the stem).

    Args:
        config: Width, depth, mixers.
        positions: Whether there is the convolution.
        scan: `alternate`, or `rows` in every block.
        convolutions: How many 3 x 3 convolutions come before the blocks.

    Cost: what the mixers cost at height * width tokens.

    Raises:
        ValueError: What the mixers refuse, as more tokens than they have places for.
    """

    def __init__(
        self,
        config: SequenceConfig,
        *,
        positions: Positions = "convolution",
        scan: Scan = "alternate",
        convolutions: int = 0,
    ) -> None:
        super().__init__()
        self.scan = scan
        self.place = None
        if positions == "convolution":
            self.place = nn.Conv2d(config.dim, config.dim, 3, padding=1, groups=config.dim)
        self.convolutions = nn.ModuleList(convolve(config.dim, config.dim) for _ in range(convolutions))
        mixers = tuple(both_ways(mixer) for mixer in config.mixers)
        self.stack = Stack(replace(config, mixers=mixers), causal=False)

    def forward(self, x: Float[Tensor, "batch dim height width"]) -> Float[Tensor, "batch dim height width"]:
        """Positions, convolutions, blocks, norm."""
        if self.place is not None:
            x = x + self.place(x)
        for convolution in self.convolutions:
            x = x + convolution(x)
        grid = x.permute(0, 2, 3, 1)
        for layer, block in enumerate(self.stack.blocks):
            turned = self.scan == "alternate" and layer % 2 == 1
            grid = grid.transpose(1, 2) if turned else grid
            tokens, _ = cast(Block, block)(grid.flatten(1, 2))
            grid = tokens.unflatten(1, grid.shape[1:3])
            grid = grid.transpose(1, 2) if turned else grid
        return self.stack.norm(grid).permute(0, 3, 1, 2)


def both_ways(mixer: MixerConfig) -> Any:
    """The configuration itself where the kind can see all tokens, else two passes, one from each end."""
    return mixer if False in mixer.directions else config("bidirectional", mixer=mixer)
