"""What the head of a network costs beside its backbone."""

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from linsight.models.vision import GazeNet, KeypointNet

__all__ = ["head_size"]


def head_size(net: KeypointNet | GazeNet, *inputs: Tensor) -> dict[str, float]:
    """Parameters and multiply-adds of what follows the backbone, decoder included; a flow is told apart.

    Args:
        net: On the device of the inputs.
        inputs: What it is called with; the backbone is called with the first.
    """
    counts = []
    for part, given in ((net, inputs), (net.backbone, inputs[:1])):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            part(*given)
        counts.append(counter.get_total_flops())
    total, backbone, codec = (
        sum(one.numel() for one in part.parameters()) for part in (net, net.backbone, net.codec)
    )
    return {
        "head_parameters": float(total - backbone - codec),
        "head_mega_multiply_adds": (counts[0] - counts[1]) / 2e6,
        "training_only_parameters": float(codec),
    }
