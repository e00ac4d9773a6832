"""Published Mamba language models as sequence models, every size read from the weights."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from linsight.mixers import AnyMixerConfig, config
from linsight.models.sequence.model import SequenceModel
from linsight.models.sequence.stack import SequenceConfig
from linsight.models.sequence.tokens import TokenModelConfig

__all__ = ["from_published"]

RENAMED = {
    r"backbone\.embeddings?\.weight": "embedding.tokens.weight",
    r"backbone\.layers\.(\d+)\.norm\.weight": r"stack.blocks.\1.mixer_norm.weight",
    r"backbone\.layers\.(\d+)\.mixer\.(.+)": r"stack.blocks.\1.mixer.\2",
    r"backbone\.norm_f\.weight": "stack.norm.weight",
    r"lm_head\.weight": "head.weight",
}
"""Names of the authors (`embedding`) and of transformers (`embeddings`), and ours."""

FIRST = "stack.blocks.0.mixer."


def from_published(
    weights: Mapping[str, Tensor], *, groups: int = 1, norm_before_gate: bool = False
) -> tuple[TokenModelConfig, SequenceModel]:
    """A published Mamba or Mamba-2 language model: its configuration, and itself.

    Such a model is x + mixer(rms_norm(x)) in every layer, a last RMS norm, and a head that may be tied to the
    embedding; eps is 1e-5.

    Args:
        weights: The state dict under the names of the authors (`mamba_ssm`) or of transformers:
            `backbone.embedding.weight`, `backbone.layers.{i}.mixer.*`, and so on. A `lm_head.weight` that is
            missing, or equal to the embedding, is tied. Copied, half precision to float32.
        groups: Of Mamba-2, which no shape tells.
        norm_before_gate: Of Mamba-2 likewise.

    Raises:
        ValueError: A name that no such model has (biases of projections, attention layers), a missing one,
            or sizes that do not fit each other.
    """
    renamed = {_our_name(name): tensor for name, tensor in weights.items()}
    for name in ("embedding.tokens.weight", "stack.norm.weight", FIRST + "A_log"):
        if name not in renamed:
            raise ValueError(f"weights: no tensor for {name!r}; expected a Mamba language model's state dict")
    table = renamed["embedding.tokens.weight"]
    head = renamed.setdefault("head.weight", table)
    vocabulary, dim = table.shape
    layers = 1 + max(int(name.split(".")[2]) for name in renamed if name.startswith("stack.blocks."))
    first = {name.removeprefix(FIRST): x for name, x in renamed.items() if name.startswith(FIRST)}
    try:
        one = "x_proj.weight" in first
        mixer = _mamba(first, dim) if one else _mamba2(first, dim, groups, norm_before_gate)
    except KeyError as missing:
        raise ValueError(f"weights: no tensor for {FIRST + missing.args[0]!r}") from None
    sequence = SequenceConfig(dim=dim, layers=layers, mixers=(mixer,), norm="rms")
    tied = head.shape == table.shape and torch.equal(head, table)
    described = TokenModelConfig(vocabulary=vocabulary, tied=tied, sequence=sequence)
    with torch.random.fork_rng(devices=[]):  # the initial values are overwritten
        model = described.build()
    renamed["head.bias"] = table.new_zeros(vocabulary)
    _check_shapes(renamed, model.state_dict())
    model.load_state_dict(renamed)
    return described, model


def _check_shapes(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for name in sorted(expected.keys() ^ weights.keys()):
        raise ValueError(
            f"weights: {'no tensor for' if name in expected else 'such a model has no'} {name!r}"
        )
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(
                f"weights: {name}: expected shape {tuple(expected[name].shape)}, got {tuple(tensor.shape)}"
            )


def _our_name(name: str) -> str:
    for theirs, ours in RENAMED.items():
        if match := re.fullmatch(theirs, name):
            return match.expand(ours)
    raise ValueError(f"weights: a Mamba language model has no tensor {name!r}")


def _mamba(weights: Mapping[str, Tensor], dim: int) -> AnyMixerConfig:
    channels, states = weights["A_log"].shape
    return config(
        "mamba",
        expansion=channels // dim,
        states=states,
        step_rank=weights["dt_proj.weight"].shape[1],
        taps=weights["conv1d.weight"].shape[2],
    )


def _mamba2(weights: Mapping[str, Tensor], dim: int, groups: int, norm_before_gate: bool) -> AnyMixerConfig:
    channels, heads = len(weights["norm.weight"]), len(weights["A_log"])
    convolved, _, taps = weights["conv1d.weight"].shape
    return config(
        "mamba2",
        expansion=channels // dim,
        states=(convolved - channels) // (2 * groups),
        head_dim=channels // heads,
        groups=groups,
        taps=taps,
        norm_before_gate=norm_before_gate,
    )
