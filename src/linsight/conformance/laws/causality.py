"""Laws of what an output may see: nothing later, and everything earlier."""

import torch
from torch import Tensor

from linsight.conformance.adapter import Adapter
from linsight.conformance.law import law
from linsight.conformance.needs import causal
from linsight.conformance.subject import Subject
from linsight.conformance.tolerances import SUMS, rounding
from linsight.conformance.trial import Trial

__all__ = ["causality", "prefix", "sight"]

CHANGES = {
    "x 5": lambda z: 5 * z,
    "x 20": lambda z: 20 * z,
    "x 1000": lambda z: 1000 * z,
    "+ 7": lambda z: z + 7,
    "+ 0.001": lambda z: z + 1e-3,
    "reversed and negated": lambda z: -z.flip(1),
}


@law(
    statement="Whatever happens at token s and later, the outputs before s keep every bit.",
    reason="An autoregressive model's conditionals p(x_t | x_<t) are functions of the past alone, or their "
    "product is no likelihood.",
    breach="The model reads the answer while it trains: the loss is too good, and generation, which has no "
    "future to read, is bad.",
    inputs="Two rows of 2 C + 6 normal tokens; from tokens 1, 5, C, C + 5 and 2 C + 3 on the inputs times "
    "5, 20 and 1000, plus 7, plus 0.001, and reversed and negated; every form, most precise dtype.",
    tolerance="Every bit where each output is computed from its own past (no bound could be derived that a "
    "small leak does not pass); where all tokens share one transform, such as an FFT, 8 n eps times the "
    "largest output, its rounding.",
    needs=(causal,),
)
def causality(subject: Subject, trial: Trial) -> None:
    """Perturb the future, look at the past."""
    adapter = subject.build()
    chunk = adapter.chunk
    x = trial.tokens(adapter, 2, 2 * chunk + 6)
    starts = (5, chunk) if trial.quick else (1, 5, chunk, chunk + 5, 2 * chunk + 3)
    for form in adapter.in_each_form():
        with torch.no_grad():
            want = adapter(x)[0]
            for start in starts:
                for name, change in CHANGES.items():
                    other = torch.cat([x[:, :start], change(x[:, start:])], dim=1)
                    y = adapter(other)[0]
                    with trial.saying(form), trial.saying(f"inputs from {start} on {name}"):
                        _past_is_kept(adapter, trial, y, want, start)


@law(
    statement="The outputs of a prefix are the prefix of the outputs: f(x[:n]) = f(x)[:n].",
    reason="An output may not depend on how long the sequence will be, which decoding does not know. A "
    "perturbed future does not show it, since the length stays.",
    breach="A normaliser that counts the whole call: trained at one length, the model is another at every "
    "other, and cannot decode.",
    inputs="Two rows of C + 36 normal tokens, and their first 1, 5, C and C + 5; every form.",
    tolerance="SUMS: a shorter call may add up in another order, 1e-10 in float64, 1e-5 in float32.",
    needs=(causal,),
)
def prefix(subject: Subject, trial: Trial) -> None:
    """Compare prefixes."""
    adapter = subject.build()
    x = trial.tokens(adapter, 2, adapter.chunk + 36)
    for form in adapter.in_each_form():
        with torch.no_grad(), trial.saying(form):
            whole = adapter(x)[0]
            for size in (1, 5, adapter.chunk, adapter.chunk + 5):
                y = adapter(x[:, :size])[0]
                trial.close(y, whole[:, :size], SUMS[adapter.dtype], f"the first {size} outputs")


@law(
    statement="Every output sees its own token, and the token that is eight places away where that is in "
    "sight.",
    reason="Otherwise the other laws could hold of a module that mixes nothing.",
    breach="Blind spots: tokens whose output is constant, or a memory that is not there.",
    inputs="Four rows of C + 6 normal tokens, one token at a time moved by a normal vector, in any of the "
    "rows (a feature map such as relu may be blind to one token, not to four).",
    tolerance="Moved outputs differ by more than 1e-9 of their RMS (1e-5 in float32): blindness gives "
    "exactly 0. A decay by halves leaves 4e-3 after eight tokens.",
)
def sight(subject: Subject, trial: Trial) -> None:
    """Move one token, look at what changes."""
    adapter = subject.build()
    floor = 1e-9 if adapter.dtype == torch.float64 else 1e-5
    length, far = adapter.chunk + 6, 8 if adapter.reach is None else min(8, adapter.reach - 1)
    x = trial.tokens(adapter, 4, length)
    # Not the same for every feature: a layer norm at the entrance takes that away again.
    nudge = trial.tokens(adapter, 4, 1)[:, 0]
    pairs = [(token, token) for token in range(0, length, 7 if trial.quick else 3)] + [(far, 0)]
    with torch.no_grad():
        y = adapter(x)[0]
        for output, token in pairs if adapter.causal else [*pairs, (0, far)]:
            other = x.clone()
            other[:, token] += nudge
            moved = (adapter(other)[0] - y)[:, output].abs().max() / y.square().mean().sqrt().clamp(min=1e-30)
            trial.holds(
                moved.item() > floor, f"of {length} outputs, number {output} does not see token {token}"
            )


def _past_is_kept(adapter: Adapter, trial: Trial, y: Tensor, want: Tensor, start: int) -> None:
    if adapter.exact_past:
        trial.same(y[:, :start], want[:, :start], f"outputs before {start}")
        return
    error = (y - want)[:, :start].abs().max() / y.abs().max().clamp(min=1e-30)
    trial.below(error.item(), rounding(adapter.dtype, y.shape[1]), f"outputs before {start}")
