"""Laws of the batch: rows are independent, and a state is a batch of states."""

import torch

from linsight.conformance.law import law
from linsight.conformance.needs import piecewise
from linsight.conformance.runs import after
from linsight.conformance.subject import Subject
from linsight.conformance.tolerances import SUMS
from linsight.conformance.trial import Trial

__all__ = ["batch", "select"]


@law(
    statement="The order, the number and the content of other rows change no row.",
    reason="Rows are independent sequences that share a call for speed alone.",
    breach="A user's results depend on the other users of the batch; one bad row ruins all.",
    inputs="Four rows of 20 normal tokens: permuted, alone, doubled, and beside a row of 50s and one of "
    "NaN; every form.",
    tolerance="SUMS: another batch may be multiplied in another order, 1e-10 in float64, 1e-5 in float32.",
)
def batch(subject: Subject, trial: Trial) -> None:
    """Permute, drop and spoil rows."""
    adapter = subject.build()
    x = trial.tokens(adapter, 4, 20)
    order = trial.order(4)
    for form in adapter.in_each_form():
        with torch.no_grad(), trial.saying(form):
            y, final = adapter(x)
            for index in (order, [0], [3, 0, 0]):
                part, state = adapter(x[index])
                with trial.saying(f"rows {index}"):
                    trial.close(part, y[index], SUMS[adapter.dtype], "y")
                    if adapter.pieces == "any" and state is not None:
                        want = adapter.tensors(adapter.rows(final, index))
                        trial.states(adapter.tensors(state), want, SUMS[adapter.dtype], "final")
            for filler in (50.0, float("nan")):
                other = x.clone()
                other[0] = filler
                got = adapter(other)[0][1:]
                trial.close(got, y[1:], SUMS[adapter.dtype], f"rows beside one of {filler}")


@law(
    statement="Rows of a state, indexed along the batch, are states: permuted, repeated and dropped rows go "
    "on as they would have in place.",
    reason="Beam search reorders, continuous batching drops and adds; batch first in every tensor makes "
    "both one indexing.",
    breach="Beams continue each other's pasts.",
    inputs="Four rows of 9 normal tokens, then 11 more for rows in a drawn order and for rows 3, 0, 0; "
    "every form.",
    tolerance="SUMS: another batch may be multiplied in another order.",
    needs=(piecewise,),
)
def select(subject: Subject, trial: Trial) -> None:
    """Continue selected rows."""
    adapter = subject.build()
    x = trial.tokens(adapter, 4, 20)
    order = trial.order(4)
    for form in adapter.in_each_form():
        with torch.no_grad(), trial.saying(form):
            y, final = adapter(x)
            middle = after(adapter, x[:, :9])
            for index in (order, [3, 0, 0]):
                rest, state = adapter(x[index, 9:], adapter.rows(middle, index))
                want = adapter.tensors(adapter.rows(final, index))
                with trial.saying(f"rows {index}"):
                    trial.close(rest, y[index, 9:], SUMS[adapter.dtype], "y")
                    trial.states(adapter.tensors(state), want, SUMS[adapter.dtype], "final")
