"""Laws of how a call is computed: its forms are one function, and any length will do."""

import torch

from linsight.conformance.adapter import Adapter
from linsight.conformance.law import law
from linsight.conformance.needs import forms as has_forms
from linsight.conformance.runs import after
from linsight.conformance.subject import Subject
from linsight.conformance.tolerances import SUMS
from linsight.conformance.trial import Trial

__all__ = ["any_length", "determinism", "evaluation", "forms"]


@law(
    statement="Every form computes what the first form, the definition, computes; the module says which "
    "form ran, and runs the one it was asked for.",
    reason="A form says how, never what: another function is another mixer.",
    breach="A model changes when its sequences become longer, its device another, or its mode decoding.",
    inputs="Two rows of 1, 2, 7, C - 1, C, C + 1, 2 C + 2 and 3 C + 7 normal tokens; from no state, and "
    "from a state with padded rows; float64, and float32 at 7 and 3 C + 7.",
    tolerance="SUMS: two orders of the same sum, 1e-10 in float64 and 1e-5 in float32, relative RMS",
    needs=(has_forms,),
)
def forms(subject: Subject, trial: Trial) -> None:
    """Compare every form with the first."""
    for adapter in subject.in_both_precisions(quick=trial.quick):
        chunk = adapter.chunk
        lengths = [1, 2, 7, chunk - 1, chunk, chunk + 1, 2 * chunk + 2, 3 * chunk + 7]
        if trial.quick or adapter.dtype == torch.float32:
            lengths = [7, 3 * chunk + 7] if not trial.quick else [7, chunk + 1]
        for length in lengths:
            with torch.no_grad(), trial.saying(f"{length} tokens"):
                x = trial.tokens(adapter, 2, length)
                _forms_agree(adapter, trial, x, None, None)
                if adapter.takes_lengths:
                    state = after(adapter, trial.tokens(adapter, 2, 5)) if adapter.pieces == "any" else None
                    _forms_agree(adapter, trial, x, state, torch.tensor([length, length // 2]))


@law(
    statement="Sequences of every length run, and give an output for every token.",
    reason="Lengths are a property of data, not of a kernel's block.",
    breach="A crash on the first batch whose length is not a multiple of a block; or silent padding.",
    inputs="One row of 1, 2, 3, 7, C - 1, C, C + 1, 100 and 127 normal tokens; every form.",
    tolerance="None: it runs, and the shape is that of x.",
)
def any_length(subject: Subject, trial: Trial) -> None:
    """Run, without the adapter's help."""
    adapter = subject.build()
    adapter.multiple = 1
    for form in adapter.in_each_form(auto=True):
        for length in (1, 2, 3, 7, adapter.chunk - 1, adapter.chunk, adapter.chunk + 1, 100, 127):
            x = trial.tokens(adapter, 1, length)
            with torch.no_grad(), trial.saying(form), trial.saying(f"{length} tokens"):
                try:
                    y, _ = adapter(x)
                except Exception as error:
                    trial.holds(False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
                    raise
                trial.holds(y.shape == x.shape, f"y is {tuple(y.shape)}, x {tuple(x.shape)}")
                trial.finite(y, "y")


@law(
    statement="The same call twice gives the same bits, and so does the same recipe.",
    reason="Randomness belongs to initial weights; random features and hashes are drawn once and kept.",
    breach="Prefill and decoding disagree; results cannot be reproduced.",
    inputs="Two rows of C + 6 normal tokens; two calls, and two modules from one seed; every form.",
    tolerance="Every bit: the same operations run on the same numbers.",
)
def determinism(subject: Subject, trial: Trial) -> None:
    """Call twice, build twice."""
    adapter, again = subject.build(), subject.build()
    x = trial.tokens(adapter, 2, adapter.chunk + 6)
    for form in adapter.in_each_form():
        with torch.no_grad(), trial.saying(form):
            trial.same(adapter(x)[0], adapter(x)[0], "y of a second call")
    for (name, one), other in zip(adapter.named_parameters(), again.parameters(), strict=True):
        trial.same(other, one, f"parameter {name} built again from the same seed")


@law(
    statement="A module without dropout computes the same outputs and states in training and in evaluation, "
    "with gradients and without.",
    reason="Nothing else in a mixer has a reason to differ.",
    breach="Validation measures another function than the one that was trained.",
    inputs="Two rows of C + 6 normal tokens, after train() and eval(), gradients on and off; every form.",
    tolerance="SUMS: two orders of the same sum, since the mode may choose the form.",
    needs=(lambda adapter, subject: "it has dropout" if _drops(adapter) else None,),
)
def evaluation(subject: Subject, trial: Trial) -> None:
    """Compare the two modes."""
    adapter = subject.build()
    x = trial.tokens(adapter, 2, adapter.chunk + 6)
    for form in adapter.in_each_form():
        with torch.no_grad():
            want, final = adapter.eval()(x)
        for training, recorded in ((True, True), (True, False), (False, True)):
            adapter.train(training)
            mode = f"{'training' if training else 'evaluation'} {'with' if recorded else 'without'} gradients"
            with torch.set_grad_enabled(recorded), trial.saying(form), trial.saying(mode):
                y, state = adapter(x)
                trial.close(y.detach(), want, SUMS[adapter.dtype], "y")
                trial.states(adapter.tensors(state), adapter.tensors(final), SUMS[adapter.dtype], "final")


def _forms_agree(adapter: Adapter, trial: Trial, x, state, lengths) -> None:
    reference = adapter.forms[0]
    with adapter.in_form(reference):
        want, final = adapter(x, state, lengths)
    for form in adapter.in_each_form(auto=True):
        with trial.saying(f"form {form}"):
            y, got = adapter(x, state, lengths)
            trial.close(y, want, SUMS[adapter.dtype], "y")
            trial.states(adapter.tensors(got), adapter.tensors(final), SUMS[adapter.dtype], "final")
            said = adapter.last_form
            if said is not None:
                known = (*adapter.forms, *(adapter.auto_forms if form == "auto" else ()))
                trial.holds(said in known, f"last_form says {said!r}, one of {known} ran")
                trial.holds(form in ("auto", said), f"last_form says {said!r}: another form ran instead")


def _drops(adapter: Adapter) -> bool:
    return any(getattr(module, "p", 0) for module in adapter.modules() if "Dropout" in type(module).__name__)
