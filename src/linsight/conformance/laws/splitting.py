"""Laws of the state that calls carry: pieces, steps, beginnings, forks."""

import torch

from linsight.conformance.adapter import Adapter
from linsight.conformance.law import law
from linsight.conformance.needs import empty_state, piecewise
from linsight.conformance.needs import state as has_state
from linsight.conformance.runs import after, in_pieces
from linsight.conformance.subject import Subject
from linsight.conformance.tolerances import SUMS
from linsight.conformance.trial import Trial, pieces_in_words

__all__ = ["decode", "fork", "prefill", "reset", "split"]

ORDERS = "SUMS: two orders of the same sum, 1e-10 in float64 and 1e-5 in float32, relative RMS"


@law(
    statement="For every split of x, the pieces run one after another with the state carried give the "
    "outputs and the final state of x run whole.",
    reason="A linear-time mixer is a recurrence with an associative state; the state is all that the future "
    "needs of the past (Katharopoulos et al. 2020, arXiv 2006.16236, section 3.3).",
    breach="Training on whole sequences, prefill in pieces and truncated backpropagation compute different "
    "functions: the loss looks fine and the deployed model is another one.",
    inputs="Two rows of 2 C + 36 normal tokens, from no state and from a state; first pieces of 1, C - 1, "
    "C, C + 1 and 2 C, seven primes, and two drawn splits, of which a lower precision has three; every form.",
    tolerance=ORDERS,
    needs=(piecewise,),
)
def split(subject: Subject, trial: Trial) -> None:
    """Compare every split with the whole."""
    for rung, adapter in enumerate(subject.in_both_precisions(quick=trial.quick)):
        chunk = adapter.chunk
        length = 2 * chunk + 36
        x = trial.tokens(adapter, 2, length)
        started = after(adapter, trial.tokens(adapter, 2, trial.integer(1, chunk + 5)))
        splits = [(first, length - first) for first in (1, chunk - 1, chunk, chunk + 1, 2 * chunk)]
        splits += [_primes(length), trial.split(length), trial.split(length)]
        if trial.quick:
            splits = splits[1:3] + splits[-1:]
        elif rung:  # the same seams, seen less sharply
            splits = splits[2:4] + splits[-1:]
        for form in adapter.in_each_form(auto=True):
            for words, state in (("", None), ("from a state", started)):
                with torch.no_grad(), trial.saying(form), trial.saying(words):
                    _pieces_are_the_whole(adapter, trial, x, splits, state)


@law(
    statement="Single tokens, one call each from the initial state, give the outputs of the whole call.",
    reason="Decoding is the same function as training, called with length 1.",
    breach="Generated text or samples come from another model than the one whose likelihood was measured.",
    inputs="Two rows of C + 6 normal tokens, one by one; every form; float64 and float32.",
    tolerance=ORDERS,
    needs=(empty_state,),
)
def decode(subject: Subject, trial: Trial) -> None:
    """Compare steps with the whole."""
    for adapter in subject.in_both_precisions(quick=trial.quick):
        length = min(adapter.chunk, 16 if trial.quick else 64) + 6
        x = trial.tokens(adapter, 2, length)
        for form in adapter.in_each_form(auto=True):
            with torch.no_grad(), trial.saying(form):
                y, _ = in_pieces(adapter, x, [1] * length, adapter.initial_state(2))
                trial.close(y, adapter(x)[0], SUMS[adapter.dtype], f"y of {length} steps")


@law(
    statement="A long call and then single tokens give the outputs and the final state of the whole call.",
    reason="Generation reads its prompt at once and goes on token by token.",
    breach="Whatever follows a prompt is generated from a state that the prompt did not have.",
    inputs="Prompts of 1, 7 and C + 1 normal tokens in two rows, then 12 steps; every form; float64, "
    "float32.",
    tolerance=ORDERS,
    needs=(has_state,),
)
def prefill(subject: Subject, trial: Trial) -> None:
    """Compare prompt and steps with the whole."""
    for adapter in subject.in_both_precisions(quick=trial.quick):
        x = trial.tokens(adapter, 2, adapter.chunk + 13)
        for form in adapter.in_each_form(auto=True):
            for prompt in (7,) if trial.quick else (1, 7, adapter.chunk + 1):
                with torch.inference_mode(), trial.saying(form):
                    sizes = (prompt, *[1] * 12)
                    _pieces_are_the_whole(adapter, trial, x[:, : prompt + 12], [sizes], None)


@law(
    statement="A call without a state begins anew, whatever was called before, and the initial state is the "
    "same beginning.",
    reason="A sequence's outputs are a function of that sequence.",
    breach="Sequences leak into each other through memory hidden in the module; a server mixes its users.",
    inputs="Two rows of 20 normal tokens, other sequences in between with their states carried.",
    tolerance="Every bit of the same call again; SUMS from the initial state, which may take another path.",
)
def reset(subject: Subject, trial: Trial) -> None:
    """Call, use otherwise, call again."""
    adapter = subject.build()
    x, other = trial.tokens(adapter, 2, 20), trial.tokens(adapter, 2, 20)
    for form in adapter.in_each_form():
        with torch.no_grad(), trial.saying(form):
            want, final = adapter(x)
            _, between = adapter(3 * other)
            if adapter.pieces != "none" and between is not None:
                adapter(other[:, :1], between)
            trial.same(adapter(x)[0], want, "y after other calls")
            if adapter.pieces == "any" and adapter.starts_empty:
                y, state = adapter(x, adapter.initial_state(2))
                with trial.saying("from initial_state"):
                    trial.close(y, want, SUMS[adapter.dtype], "y")
                    trial.states(adapter.tensors(state), adapter.tensors(final), SUMS[adapter.dtype], "final")


@law(
    statement="A state is a value: it may be continued twice, and no continuation changes it or the other.",
    reason="Beam search, speculative decoding and interactive use go on from one state many times.",
    breach="The second continuation starts from a state that the first one has written into.",
    inputs="Two rows; the state of a call continued by 1, 2 and 33 tokens, that of two steps by 1; with and "
    "without gradients, and in inference mode.",
    tolerance="Every bit: the same operations run on the same numbers.",
    needs=(has_state,),
)
def fork(subject: Subject, trial: Trial) -> None:
    """Continue one state several times."""
    adapter = subject.build()
    x = trial.tokens(adapter, 2, 33)
    sizes = (1, 2, 33) if adapter.pieces == "any" else (1,)
    for form in adapter.in_each_form():
        for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
            with mode(), trial.saying(form):
                _, state = adapter(x)
                # A step may leave room for the next, which two continuations must not share.
                _, stepped = adapter(x[:, :1], adapter(x[:, :1], adapter.copied(state))[1])
                for start, whence, some in ((state, "of a call", sizes), (stepped, "of two steps", (1,))):
                    kept = adapter.copied(start)
                    for size in some:
                        with trial.saying(f"from the state {whence}"):
                            _fork(adapter, trial, x[:, :size], start, kept)


def _fork(adapter: Adapter, trial: Trial, x: torch.Tensor, state, kept) -> None:
    first, after_first = adapter(x, state)
    kept_first = adapter.copied(after_first)
    adapter(-x, state)
    # Before the same continuation again, which would write the same numbers back.
    trial.states(adapter.tensors(after_first), adapter.tensors(kept_first), 0, "the first continuation")
    again, after_again = adapter(x, state)
    adapter(x[:, :1], after_again)
    trial.states(adapter.tensors(state), adapter.tensors(kept), 0, "a state continued twice")
    trial.states(adapter.tensors(after_first), adapter.tensors(kept_first), 0, "the first continuation")
    trial.same(again, first, "the same continuation a second time")


def _pieces_are_the_whole(adapter: Adapter, trial: Trial, x: torch.Tensor, splits, state) -> None:
    whole, final = adapter(x, _own(adapter, state))
    for sizes in splits:
        y, carried = in_pieces(adapter, x, sizes, _own(adapter, state))
        with trial.saying(f"pieces {pieces_in_words(sizes)}"):
            trial.close(y, whole, SUMS[adapter.dtype], "y")
            trial.states(adapter.tensors(carried), adapter.tensors(final), SUMS[adapter.dtype], "final")


def _own(adapter: Adapter, state):
    """A copy, so that a module which writes into its state is judged for that by `fork` alone."""
    return None if state is None else adapter.copied(state)


def _primes(length: int) -> tuple[int, ...]:
    sizes = (2, 3, 5, 7, 11, 13)
    return (*sizes, length - sum(sizes))
