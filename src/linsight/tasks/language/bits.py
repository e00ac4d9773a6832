"""-log p of every byte of a text: read as one sequence with the state carried, or in windows."""

from math import log

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float64, Int
from torch import Tensor

from linsight.models.sequence import SequenceModel
from linsight.tasks.base import Progress

__all__ = ["as_tokens", "carried_nats", "windowed_nats"]

_PIECE = 4096
_BATCH_BYTES = 16_384


@torch.inference_mode()
def carried_nats(
    model: SequenceModel, content: bytes, *, progress: Progress | None = None
) -> Float64[Tensor, " bytes"]:
    """Nats of every byte given all bytes before it: one sequence, the state carried from piece to piece.

    The first byte, of which the model says nothing, costs log 256.
    """
    tokens = as_tokens(model, content)
    nats, state = [_first(tokens)], None
    for start in range(0, len(tokens) - 1, _PIECE):
        piece = tokens[start : start + _PIECE + 1]
        logits, state = model(piece[None, :-1], state)
        nats.append(_nats(logits[0], piece[1:]))
        if progress:
            progress("bytes, state carried", min(start + _PIECE, len(tokens)), len(tokens))
    return torch.cat(nats).cpu()


@torch.inference_mode()
def windowed_nats(
    model: SequenceModel, content: bytes, *, window: int, progress: Progress | None = None
) -> Float64[Tensor, " bytes"]:
    """Nats of every byte given at least window / 2 bytes before it, or all that there are.

    Windows overlap by half, and each byte is predicted once, by the first window that has it in its second
    half. The first byte costs log 256.
    """
    tokens = as_tokens(model, content)
    stride = window // 2
    nats = [_first(tokens)]
    head = tokens[: window + 1]
    nats.append(_nats(model(head[None, :-1])[0][0], head[1:]) if len(head) > 1 else nats[0][:0])
    starts = torch.arange(stride, max(len(tokens) - window, stride), stride)
    whole = [int(start) for start in starts if start + window + 1 <= len(tokens)]
    rows = max(_BATCH_BYTES // window, 1)
    for first in range(0, len(whole), rows):
        part = torch.stack([tokens[start : start + window + 1] for start in whole[first : first + rows]])
        logits = model(part[:, :-1])[0][:, window - stride :]
        nats.append(_nats(logits.flatten(0, 1), part[:, window - stride + 1 :].flatten()))
        if progress:
            progress("bytes, in windows", min((first + rows) * stride, len(tokens)), len(tokens))
    done = sum(map(len, nats))
    if done < len(tokens):
        rest = tokens[-(window + 1) :]
        left = len(tokens) - done
        nats.append(_nats(model(rest[None, :-1])[0][0, -left:], rest[-left:]))
    return torch.cat(nats).cpu()


def as_tokens(model: SequenceModel, content: bytes) -> Int[Tensor, " bytes"]:
    """The bytes as the model's tokens, on its device."""
    values = torch.from_numpy(np.frombuffer(content, np.uint8).astype(np.int64))
    return values.to(model.head.weight.device)


def _first(tokens: Tensor) -> Tensor:
    return torch.full((min(len(tokens), 1),), log(256), dtype=torch.float64, device=tokens.device)


def _nats(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.double(), targets, reduction="none")
