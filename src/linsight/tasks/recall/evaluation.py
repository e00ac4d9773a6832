"""How many answers are right, at which distance, and what remembers them."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from linsight.data import IGNORED, RecallData, recall
from linsight.metrics import nll_compute, nll_update
from linsight.models.sequence import SequenceModel
from linsight.tasks.base import Progress, Split
from linsight.tasks.exhibits import Curves, Evaluation, Table

__all__ = ["evaluate_recall"]

_BATCH = 100
_SHOWN = 12


class _Answers(NamedTuple):
    """Of every question, in order: the answer given, the right one, its log p, its key, its distance."""

    given: Int[Tensor, " questions"]
    right: Int[Tensor, " questions"]
    log_prob: Float[Tensor, " questions"]
    keys: Int[Tensor, " questions"]
    gaps: Int[Tensor, " questions"]

    @property
    def hits(self) -> Bool[Tensor, " questions"]:
        return self.given == self.right


@torch.inference_mode()
def evaluate_recall(
    model: SequenceModel,
    data: RecallData,
    split: Split,
    number: int,
    *,
    progress: Progress | None = None,
) -> Evaluation:
    """Metrics and exhibits of a model, on its device, over the first `number` sequences of a split.

    Standard errors are taken over sequences: the questions of one are not independent.
    """
    answers = _ask(model, data, split, number, progress)
    by_sequence = answers.hits.view(number, data.queries).double()
    shares = by_sequence.mean(1)
    error = shares.std(correction=min(1, number - 1)).item() / number**0.5
    nats = nll_compute(nll_update(answers.log_prob))
    state = model.stack.state_size(data.length)
    solved = (shares == 1).double().mean().item()
    metrics = {
        "accuracy": shares.mean().item(),
        "accuracy_standard_error": error,
        "sequences_solved": solved,
        "answer_nats": nats.value.item(),
        "state_bytes": float(state),
    }
    summary = Table(
        "recall",
        "Recall",
        ("", "accuracy", "sequences without a mistake", "state (bytes)"),
        (
            ("this run", f"{metrics['accuracy']:.4f} ± {error:.4f}", f"{solved:.3f}", state),
            ("a blind guess", f"{data.chance:.4f}", f"{data.chance**data.queries:.2g}", 0),
        ),
        f"{split} split: {number:,} sequences of {data.length} tokens, {data.num_pairs} pairs, "
        f"{data.queries} questions each; error over sequences. State: all layers, after the last token.",
    )
    return Evaluation(split, metrics, (summary, _by_distance(answers, data), _questions(answers, data)))


def _ask(
    model: SequenceModel, data: RecallData, split: Split, number: int, progress: Progress | None
) -> _Answers:
    device = model.head.weight.device
    found = []
    for start in range(0, number, _BATCH):
        drawn = recall(data, np.arange(start, min(start + _BATCH, number)), split=split)
        tokens, targets, gaps = (
            torch.from_numpy(part).to(device) for part in (drawn.tokens, drawn.targets, drawn.gaps)
        )
        asked = targets != IGNORED
        log_prob = model(tokens)[0][asked].float().log_softmax(-1)
        right = targets[asked]
        of_right = log_prob.gather(1, right[:, None])[:, 0]
        found.append(_Answers(log_prob.argmax(-1), right, of_right, tokens[asked], gaps[asked]))
        if progress:
            progress(f"{split} sequences", start + len(tokens), number)
    return _Answers(*(torch.cat(parts).cpu() for parts in zip(*found, strict=True)))


def _by_distance(answers: _Answers, data: RecallData) -> Curves:
    """Accuracy over distances in octaves, each at the geometric middle of those that occur in it."""
    octave = answers.gaps.double().log2().floor()
    x, y = [], []
    for value in octave.unique():
        here = octave == value
        x.append(answers.gaps[here].double().log().mean().exp().item())
        y.append(answers.hits[here].double().mean().item())
    series = {"this run": (x, y), "a blind guess": ([x[0], x[-1]], [data.chance, data.chance])}
    return Curves(
        "accuracy_by_distance",
        "Accuracy against the distance of the answer",
        series,
        "tokens between the question and its answer",
        "accuracy",
        log_x=True,
        note="Distances are gathered in octaves.",
    )


def _questions(answers: _Answers, data: RecallData) -> Table:
    first_key, first_value = data.num_fillers, data.num_fillers + data.num_keys

    def name(token: int) -> str:
        if token >= first_value:
            return f"value {token - first_value}"
        return f"key {token - first_key}" if token >= first_key else f"filler {token}"

    rows = tuple(
        (name(key), gap, name(right), name(given), "yes" if right == given else "no")
        for key, gap, right, given in zip(
            *(part[:_SHOWN].tolist() for part in (answers.keys, answers.gaps, answers.right, answers.given)),
            strict=True,
        )
    )
    return Table(
        "questions",
        "The first questions",
        ("asked", "tokens back", "answer", "answered", "right"),
        rows,
        "None left out.",
    )
