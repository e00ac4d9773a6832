"""Sampling from a sequence model with its state: prefill by one long call, then calls of length 1."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from linsight.densities import draw
from linsight.models.sequence.decoding import Steps
from linsight.models.sequence.model import SequenceModel
from linsight.models.sequence.rwkv import RWKVModel

__all__ = ["generate", "restrict"]


@torch.no_grad()
def generate(
    model: SequenceModel | RWKVModel,
    prompts: Tensor,
    num_steps: int,
    *,
    lengths: Tensor | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    greedy: bool = False,
    generator: torch.Generator | None = None,
    num_tokens: int | None = None,
) -> Int[Tensor, "batch steps"]:
    """The `num_steps` tokens that follow each prompt.

    The prompts are read in one call; each further token costs one call of length 1, whatever its position.

    Args:
        model: The sequence model.
        prompts: `(batch, length)` int64, length >= 1, right-padded where rows differ, with anything.
        num_steps: How many tokens to draw.
        lengths: `(batch,)`: the prompts' own lengths, at least 1; None means all are whole.
        temperature: Divides the logits. Not 1: the tokens are no samples of the model's law.
        top_k: Keep the k likeliest tokens.
        top_p: Keep the smallest set of likeliest tokens whose probability reaches p (Holtzman et al. 2020,
            arXiv 1904.09751); the likeliest token always stays.
        greedy: Take the likeliest token, of several the lowest, instead of drawing; the other options but
            `num_tokens` then change nothing.
        generator: Source of randomness.
        num_tokens: Draw only from tokens 0 .. num_tokens - 1; None means all that the model has outputs for.

    Raises:
        ValueError: An empty prompt or lengths that do not fit, a temperature <= 0, top_k < 1, top_p outside
            (0, 1], num_steps < 0, num_tokens < 1, more steps than the model has positions for.
    """
    _check(model, prompts, num_steps, lengths, temperature, num_tokens)
    _check_restriction(top_k, top_p)
    if num_steps == 0:  # the prompts may then fill the model to its last place
        return prompts.new_zeros(len(prompts), 0)
    drawn = []
    logits, state = model(prompts, None, lengths)
    if lengths is None:
        logits = logits[:, -1]
    else:
        logits = logits[torch.arange(len(prompts), device=prompts.device), lengths - 1]
    steps = Steps(model)
    for step in range(num_steps):
        if step:
            logits, state = steps(drawn[-1], state)
        scores = logits[:, :num_tokens]
        if greedy:
            drawn.append(scores.argmax(-1))
            continue
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        drawn.append(draw(restrict(scores / temperature, top_k=top_k, top_p=top_p), generator))
    return torch.stack(drawn, dim=1)


def restrict(
    logits: Float[Tensor, "batch vocabulary"], *, top_k: int | None = None, top_p: float | None = None
) -> Float[Tensor, "batch vocabulary"]:
    """The logits with -inf at every token that top-k or top-p leaves out; ties keep the lower token.

    Both given, top-p counts the probabilities of the k tokens alone.

    Raises:
        ValueError: top_k < 1, top_p outside (0, 1].
    """
    _check_restriction(top_k, top_p)
    if top_k is not None and top_k < logits.shape[-1]:
        keep = logits.sort(dim=-1, descending=True, stable=True).indices[:, :top_k]
        logits = torch.full_like(logits, float("-inf")).scatter(1, keep, logits.gather(1, keep))
    if top_p is not None and top_p < 1:  # 1 keeps all, those too whose probability is lost in the sum
        ordered, index = logits.softmax(-1).sort(dim=-1, descending=True, stable=True)
        before = F.pad(ordered.cumsum(-1)[:, :-1], (1, 0))
        drop = torch.zeros_like(before, dtype=torch.bool).scatter(1, index, before >= top_p)
        logits = logits.masked_fill(drop, float("-inf"))
    return logits


def _check_restriction(top_k, top_p):
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k: expected at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p: expected a number in (0, 1], got {top_p}")


def _check(model, prompts, num_steps, lengths, temperature, num_tokens):
    if prompts.ndim != 2 or prompts.shape[1] == 0:
        raise ValueError(f"prompts: expected shape (batch, length >= 1), got {tuple(prompts.shape)}")
    batch, length = prompts.shape
    if lengths is not None and (lengths.shape != (batch,) or ((lengths < 1) | (lengths > length)).any()):
        raise ValueError(f"lengths: expected {batch} integers from 1 to {length}, got {lengths.tolist()}")
    if num_steps < 0:
        raise ValueError(f"num_steps: expected at least 0, got {num_steps}")
    if not temperature > 0:
        raise ValueError(f"temperature: expected a number above 0, got {temperature}")
    if num_tokens is not None and not 1 <= num_tokens <= model.head.out_features:
        raise ValueError(f"num_tokens: expected 1 to {model.head.out_features}, got {num_tokens}")
    longest = length if lengths is None else max(lengths.tolist(), default=length)
    limit = model.max_length
    if limit is not None and num_steps and longest + num_steps - 1 > limit:
        raise ValueError(
            f"prompts: the model allows {limit} steps in all, {longest} given and {num_steps} to draw "
            f"need {longest + num_steps - 1}; shorten the prompt or draw fewer"
        )
