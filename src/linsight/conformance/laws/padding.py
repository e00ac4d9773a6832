"""Laws of rows of unequal length: a padded row is its own solo run."""

import torch
from torch import Tensor

from linsight.conformance.adapter import Adapter
from linsight.conformance.law import law
from linsight.conformance.needs import lengths as takes_lengths
from linsight.conformance.needs import piecewise
from linsight.conformance.runs import after, padded, solo, weighted
from linsight.conformance.runs import padding as padding_of
from linsight.conformance.subject import Subject
from linsight.conformance.tolerances import GRADIENTS, SUMS
from linsight.conformance.trial import Trial

__all__ = ["padding", "padding_gradients", "ragged"]

NAN = float("nan")


@law(
    statement="A padded row gives what it gives alone: outputs 0 at padded places, the state after its own "
    "last token, whatever the padding holds, NaN included.",
    reason="Padding is an artefact of batching. To zero a key is not enough: elu(0) + 1 = 1 stays in the "
    "sums.",
    breach="Results depend on which sequences happened to share a batch; short sequences suffer most.",
    inputs="Four rows padded to C + 6 with lengths of 0, 1, C - 1, C, C + 1 and all, and a drawn set; "
    "paddings of 0, 1000 and NaN, from no state and from a state; every form; float64 and float32.",
    tolerance="SUMS against the solo run; every bit between paddings.",
    needs=(takes_lengths,),
)
def padding(subject: Subject, trial: Trial) -> None:
    """Compare padded rows with solo runs."""
    for rung, adapter in enumerate(subject.in_both_precisions(quick=trial.quick)):
        length = adapter.chunk + 6
        x = trial.tokens(adapter, 4, length)
        drawn = [trial.integer(0, length) for _ in range(4)]
        sets = [(length, 1, adapter.chunk, adapter.chunk + 1), (5, 0, length, adapter.chunk - 1), drawn]
        if trial.quick or rung:
            sets = sets[1:2]
        else:
            sets += [(0, 0, 0, 0), (length,) * 4]
        states = [None]
        if adapter.pieces == "any":
            states.append(after(adapter, trial.tokens(adapter, 4, 5)))
        for form in adapter.in_each_form():
            for lengths in sets:
                for state in states:
                    with torch.no_grad(), trial.saying(form), trial.saying(f"lengths {list(lengths)}"):
                        _rows_are_solo(adapter, trial, x, torch.tensor(lengths), state)


@law(
    statement="Padded pieces with the state carried: every row goes on from its own position.",
    reason="A server continues prompts of different lengths in one batch.",
    breach="Shorter prompts are continued at the position of the longest.",
    inputs="Three rows in pieces of lengths (9, 2, 5), single tokens in which rows rest, (20, 1, C), and a "
    "drawn piece; every form, most precise dtype.",
    tolerance="SUMS: two orders of the same sum.",
    needs=(takes_lengths, piecewise),
)
def ragged(subject: Subject, trial: Trial) -> None:
    """Compare rows in ragged pieces with their solo runs."""
    adapter = subject.build()
    drawn = [trial.integer(0, 9) for _ in range(3)]
    pieces = [(9, 2, 5), (1, 1, 1), (1, 0, 1), (0, 1, 1), (20, 1, adapter.chunk), drawn, (1, 1, 1)]
    x = trial.tokens(adapter, 3, sum(max(piece) for piece in pieces))
    for form in adapter.in_each_form():
        with torch.no_grad(), trial.saying(form):
            state, start = None, 0
            taken: list[list[Tensor]] = [[], [], []]
            got: list[list[Tensor]] = [[], [], []]
            for lengths in (piece for piece in pieces if max(piece)):
                piece = x[:, start : start + max(lengths)]
                given = torch.tensor(lengths)
                y, state = adapter(padded(piece, given, NAN), state, given)
                for row, size in enumerate(lengths):
                    taken[row].append(piece[row, :size])
                    got[row].append(y[row, :size])
                start += max(lengths)
            for row in range(3):
                want, final = adapter(torch.cat(taken[row])[None])
                with trial.saying(f"row {row}"):
                    trial.close(torch.cat(got[row])[None], want, SUMS[adapter.dtype], "y")
                    mine = adapter.tensors(adapter.rows(state, [row]))
                    trial.states(mine, adapter.tensors(final), SUMS[adapter.dtype], "final")


@law(
    statement="Padding receives no gradient and gives none: parameters get the sum of the solo runs.",
    reason="The loss of a batch is the sum of its sequences' losses.",
    breach="NaN in the padding ruins a training step, or padding pulls weights unseen.",
    inputs="Four rows padded to 12 with lengths 12, 5, 0 and 1, paddings of 3 and NaN; every form.",
    tolerance="GRADIENTS: sums in two orders through one derivative, 1e-9 in float64, 1e-3 in float32; "
    "exactly 0 at padded places.",
    needs=(takes_lengths,),
)
def padding_gradients(subject: Subject, trial: Trial) -> None:
    """Compare gradients of a padded batch with those of solo runs."""
    adapter = subject.build()
    x, lengths = trial.tokens(adapter, 4, 12), torch.tensor([12, 5, 0, 1])
    for form in adapter.in_each_form():
        with trial.saying(form):
            want, sums = _solo_gradients(adapter, x, lengths)
            for filler in (3.0, NAN):
                leaf = padded(x, lengths, filler).requires_grad_()
                y, final = adapter(leaf, None, lengths)
                total = _loss(adapter, y, final)
                got = torch.autograd.grad(total, [leaf, *adapter.parameters()], allow_unused=True)
                with trial.saying(f"padding of {filler}"):
                    given = torch.zeros_like(leaf) if got[0] is None else got[0]
                    reached = given[padding_of(lengths, 12)]
                    trial.holds(bool((reached == 0).all()), "the padding receives a gradient")
                    trial.close(given, want, GRADIENTS[adapter.dtype], "gradient of x")
                    for (name, _), mine, all_of in zip(
                        adapter.named_parameters(), got[1:], sums, strict=True
                    ):
                        mine = torch.zeros_like(all_of) if mine is None else mine
                        trial.close(mine, all_of, GRADIENTS[adapter.dtype], f"gradient of {name}")


def _rows_are_solo(adapter: Adapter, trial: Trial, x: Tensor, lengths: Tensor, state) -> None:
    y, final = adapter(padded(x, lengths, 0.0), state, lengths)
    trial.holds(y.shape == x.shape, f"y is {tuple(y.shape)}, x {tuple(x.shape)}")
    trial.holds(bool((y[padding_of(lengths, x.shape[1])] == 0).all()), "y is not 0 at padded places")
    for filler in (1e3, NAN):
        other, other_final = adapter(padded(x, lengths, filler), state, lengths)
        trial.same(other, y, f"y with padding of {filler}")
        trial.states(adapter.tensors(other_final), adapter.tensors(final), 0, f"padding of {filler}")
    for row, size in enumerate(lengths.tolist()):
        want, want_final = solo(adapter, x, size, state, row)
        with trial.saying(f"row {row}"):
            trial.close(y[row : row + 1, :size], want, SUMS[adapter.dtype], "y")
            if adapter.pieces != "none" and want_final is not None:
                mine = adapter.tensors(adapter.rows(final, [row]))
                trial.states(mine, adapter.tensors(want_final), SUMS[adapter.dtype], "final")


def _loss(adapter: Adapter, y: Tensor, final) -> Tensor:
    squares = [t.double().square().sum() for t in adapter.tensors(final).values() if t.is_floating_point()]
    return weighted([y]) + sum(squares)


def _solo_gradients(adapter: Adapter, x: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The gradient of x, and for each parameter the sum over the rows."""
    parameters = list(adapter.parameters())
    want, sums = torch.zeros_like(x), [torch.zeros_like(parameter) for parameter in parameters]
    # The weights of the loss are drawn for the padded shape: each row takes its own.
    generator = torch.Generator().manual_seed(11)
    weight = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    for row, size in enumerate(lengths.tolist()):
        if size == 0:
            continue
        alone = x[row : row + 1, :size].clone().requires_grad_()
        y, final = adapter(alone)
        squares = [
            t.double().square().sum() for t in adapter.tensors(final).values() if t.is_floating_point()
        ]
        loss = (y.double() * weight[row : row + 1, :size]).sum() + sum(squares)
        parts = torch.autograd.grad(loss, [alone, *parameters], allow_unused=True)
        if parts[0] is not None:
            want[row, :size] = parts[0][0]
        sums = [total if part is None else total + part for total, part in zip(sums, parts[1:], strict=True)]
    return want, sums
