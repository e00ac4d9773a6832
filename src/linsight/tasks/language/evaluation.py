"""Bits per byte of a text, beside what counting and compressors need; samples; the worth of context."""

import bz2
import lzma
from math import log

import torch
from jaxtyping import Float64
from torch import Tensor

from linsight.data import SplitText
from linsight.models.sequence import SequenceModel, generate
from linsight.tasks.base import Progress, Split
from linsight.tasks.exhibits import Curves, Evaluation, Table, Text
from linsight.tasks.language.bits import as_tokens, carried_nats, windowed_nats
from linsight.tasks.language.counting import ngram_log2

__all__ = ["evaluate_language"]

_SEED = 20_200_629
_ORDER = 5
_PROMPT = 200


@torch.inference_mode()
def evaluate_language(
    model: SequenceModel,
    text: SplitText,
    *,
    training: bytes,
    split: Split,
    length: int,
    sample_bytes: int,
    progress: Progress | None = None,
) -> Evaluation:
    """Metrics and exhibits of a model, on its device, over the whole split.

    A state that does not grow is carried through the text, which is one sequence; windows of twice the
    training length, overlapping by half, are read beside it, and alone where the state grows with the text.
    """
    window = 2 * length
    windowed = windowed_nats(model, text.content, window=window, progress=progress) / log(2)
    rows = [(f"this run, windows of {window}, at least {length} bytes of context", *_cells(windowed))]
    metrics = {"bits_per_byte": windowed.mean().item()}
    if not model.stack.state_grows:
        carried = carried_nats(model, text.content, progress=progress) / log(2)
        rows.insert(0, ("this run, state carried through the whole text", *_cells(carried)))
        metrics = {"bits_per_byte": carried.mean().item(), "bits_per_byte_in_windows": windowed.mean().item()}
    metrics["state_bytes"] = float(model.stack.state_size(window))
    counted = torch.from_numpy(-ngram_log2(training, text.content, _ORDER))
    rows += [(f"counting, {n} bytes of context", *_cells(row)) for n, row in enumerate(counted)]
    for name, module in (("xz", lzma), ("bz2", bz2)):
        rows.append(
            (
                f"{name} of the {split} text alone",
                8 * len(module.compress(text.content)) / len(text.content),
                None,
            )
        )
    note = (
        f"{len(text.content):,} bytes, split {text.how}. Counting: n-grams of the training split by Witten "
        "and Bell's interpolation down to 1/256. Errors: over blocks of 1000 bytes."
    )
    table = Table("bits", "Bits per byte", ("", "bits per byte", "standard error"), tuple(rows), note)
    return Evaluation(
        split,
        metrics,
        (table, _worth_of_context(model, text.content, length), *_samples(model, text.content, sample_bytes)),
    )


def _cells(bits: Float64[Tensor, " bytes"]) -> tuple[float, float | None]:
    """The mean, and its standard error over blocks, since bytes that stand together are not independent."""
    blocks = bits[: len(bits) // 1000 * 1000].view(-1, 1000).mean(1)
    return bits.mean().item(), blocks.std().item() / len(blocks) ** 0.5 if len(blocks) > 1 else None


def _worth_of_context(model: SequenceModel, content: bytes, length: int) -> Curves:
    """Bits of the byte after n bytes of context, over many beginnings; twice as far as was trained."""
    span = min(2 * length, len(content) - 1)
    tokens = as_tokens(model, content)
    rows = min((len(tokens) - 1) // span, 64)
    starts = torch.linspace(0, len(tokens) - span - 1, rows).long()
    windows = torch.stack([tokens[start : start + span + 1] for start in starts.tolist()])
    log_prob = model(windows[:, :-1])[0].double().log_softmax(-1)
    bits = -log_prob.gather(-1, windows[:, 1:, None])[..., 0].mean(0).cpu() / log(2)
    x, y, first = [], [], 0
    while first < span:
        last = min(max(first + 1, round(first * 1.3)), span)
        x.append((first + 1 + last) / 2)
        y.append(bits[first:last].mean().item())
        first = last
    return Curves(
        "context",
        "What context is worth",
        {"this run": (x, y)},
        "bytes before the predicted one",
        "bits per byte",
        log_x=True,
        note=f"The state begins empty at {rows} places of the text; trained up to {length} bytes.",
    )


def _samples(model: SequenceModel, content: bytes, number: int) -> tuple[Text, ...]:
    generator = torch.Generator(model.head.weight.device).manual_seed(_SEED)
    prompt = as_tokens(model, content[:_PROMPT])[None]
    shown = []
    for title, temperature in (("A sample", 1.0), ("A sample at temperature 0.7", 0.7)):
        drawn = generate(model, prompt, number, temperature=temperature, generator=generator)[0]
        text = bytes(drawn.tolist()).decode("utf-8", errors="replace")
        shown.append(
            Text(
                f"sample_{len(shown) + 1}",
                title,
                text,
                f"{number} bytes drawn after the first {prompt.shape[1]} of the text, the first draw shown"
                + ("." if temperature == 1 else ": no sample of the model's law, but of a sharper one."),
            )
        )
    return tuple(shown)
