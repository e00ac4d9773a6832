"""Published weights as folders that `from_pretrained` opens."""

import os
from collections.abc import Mapping

from torch import Tensor

from linsight.models.sequence import from_published
from linsight.training.config import PublishedConfig
from linsight.training.pretrained import save_pretrained

__all__ = ["convert_published"]


def convert_published(
    weights: Mapping[str, Tensor],
    folder: str | os.PathLike[str],
    *,
    source: str,
    groups: int = 1,
    norm_before_gate: bool = False,
) -> str:
    """Write a published Mamba or Mamba-2 language model as a folder that `from_pretrained` opens.

    Args:
        weights: The state dict as published, under the names of `mamba_ssm` or of transformers (of a
            `.safetensors` file: `safetensors.torch.load_file`). Half precision becomes float32.
        folder: Where to.
        source: Where the weights are from, in words; kept in the configuration.
        groups, norm_before_gate: Of Mamba-2, whose shapes do not tell.

    Returns:
        The model's identity, as `save_pretrained` does.

    Raises:
        ValueError: The weights are of another kind of model; see `linsight.models.sequence.from_published`.
        OSError: A file cannot be written.
    """
    described, model = from_published(weights, groups=groups, norm_before_gate=norm_before_gate)
    return save_pretrained(model, PublishedConfig(PublishedConfig.VERSION, source, described), folder)
