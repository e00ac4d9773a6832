"""Laws of what a state is made of: dtypes, sizes, and sums that keep counting."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from linsight.conformance.adapter import Adapter
from linsight.conformance.law import law
from linsight.conformance.needs import counts_tokens, fixed_state
from linsight.conformance.needs import state as has_state
from linsight.conformance.runs import after
from linsight.conformance.subject import Subject, cast
from linsight.conformance.trial import Trial, relative_rms

__all__ = ["accumulation", "largest_tensor", "state", "state_size", "step_cost"]


@law(
    statement="A state is tensors, batch first; what adds up is float32 (float64 in a float64 module) "
    "whatever the weights or autocast, what keeps tokens has their dtype; whole numbers are int64.",
    reason="A state can then be indexed, forked, merged, saved and batched, and its sums do not stop "
    "growing where half precision ends.",
    breach="Long sequences saturate; a server cannot rearrange its batch.",
    inputs="Three rows of 9 normal tokens in float64, float32, bfloat16, float16, and float32 under "
    "bfloat16 autocast; the initial state, the state after a call, the state after one token more.",
    tolerance="Exact: dtypes and shapes.",
    needs=(has_state,),
)
def state(subject: Subject, trial: Trial) -> None:
    """Look at every tensor."""
    for adapter in subject.in_dtypes(torch.float64, torch.float32, torch.bfloat16, torch.float16):
        with trial.saying(f"in {_short(adapter.dtype)}"):
            _look(adapter, trial)
    for adapter in subject.in_dtypes(torch.float32):
        for form in adapter.in_each_form():
            with (
                torch.autocast("cpu", dtype=torch.bfloat16),
                trial.saying(form),
                trial.saying("under autocast"),
            ):
                _look(adapter, trial)


@law(
    statement="The state has one size whatever the length, unless it is declared to grow; and where the "
    "module says how large it is, that is what the tensors hold.",
    reason="A constant state is what linear-time mixers are for; memory is planned by what they say.",
    breach="Memory grows with the conversation, or a plan is wrong.",
    inputs="Two rows of 1, 2, 7, C, C + 1 and 150 normal tokens in float64, float32 and bfloat16.",
    tolerance="Exact: bytes.",
    needs=(has_state,),
)
def state_size(subject: Subject, trial: Trial) -> None:
    """Weigh the tensors."""
    for adapter in subject.in_dtypes(torch.float64, torch.float32, torch.bfloat16):
        x = trial.tokens(adapter, 2, 150)
        sizes = {}
        for length in (1, 2, 7, adapter.chunk, adapter.chunk + 1, 150):
            tensors = adapter.tensors(after(adapter, x[:, :length]))
            sizes[length] = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
            said = adapter.state_size(length)
            if said is not None:
                trial.holds(
                    2 * said == sizes[length],
                    f"state_size({length}) says {said} bytes, the tensors hold {sizes[length] / 2:.1f} a row",
                )
        if not adapter.state_grows:
            trial.holds(
                len(set(sizes.values())) == 1, f"bytes by tokens seen: {sizes}, and it does not say so"
            )


@law(
    statement="A step costs the same after 5 tokens and after 500: no operation of it returns more numbers.",
    reason="Decoding in linear time means constant time a token.",
    breach="Generation slows down with every token, as attention without a cache does.",
    inputs="One normal token from states after 5 and after 500 tokens; the largest tensor that any "
    "operation returns.",
    tolerance="Exact: counts of elements.",
    needs=(fixed_state,),
    quick=False,
)
def step_cost(subject: Subject, trial: Trial) -> None:
    """Count what a step allocates."""
    adapter = subject.build()
    token = trial.tokens(adapter, 1, 1)
    early, late = (after(adapter, trial.tokens(adapter, 1, length)) for length in (5, 500))
    with torch.no_grad():
        small = largest_tensor(lambda: adapter(token, early))
        large = largest_tensor(lambda: adapter(token, late))
    trial.holds(
        small == large, f"a step's largest tensor has {small} numbers after 5 tokens, {large} after 500"
    )


@law(
    statement="Running sums go on counting in bfloat16: after 1,000 equal tokens the state is what 1,000 "
    "make.",
    reason="bfloat16 has 8 bits, and a sum of equal terms in it stops between the 256th and the 512th. Sums "
    "of many terms need a wider accumulator.",
    breach="After a few hundred tokens the model sees only its beginning, in the precision it is deployed "
    "in.",
    inputs="One normal token 1,000 times, one by one, in bfloat16 and in float32 under bfloat16 autocast, "
    "against float64 with the same weights; every tensor of the state that adds up.",
    tolerance="0.05 relative RMS: keys, values and decays round to 2^-9 each, the same way at every step, so "
    "that nothing averages out; a sum that stops at 512 of 1,000 is off by 0.49.",
    needs=(counts_tokens,),
)
def accumulation(subject: Subject, trial: Trial) -> None:
    """Count equal tokens."""
    _counts_on(subject, trial, torch.bfloat16, "in bfloat16")
    if torch.float32 in subject.build().dtypes and not trial.quick:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            _counts_on(subject, trial, torch.float32, "under bfloat16 autocast")


def largest_tensor(call: Callable[[], object]) -> int:
    """Elements of the largest tensor any operation returns during `call`."""
    with _Largest() as mode:
        call()
    return mode.elements


class _Largest(TorchDispatchMode):
    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def _counts_on(subject: Subject, trial: Trial, dtype: torch.dtype, words: str) -> None:
    adapter, reference = subject.build(dtype), cast(subject.build(dtype), torch.float64)
    token, steps = trial.tokens(adapter, 1, 1), 600 if trial.quick else 1000
    with torch.no_grad():
        with torch.autocast("cpu", enabled=False):
            want = adapter.tensors(reference(token.double().expand(-1, steps, -1))[1])
        carried = None
        for _ in range(steps):
            _, carried = adapter(token, carried)
    for name, tensor in adapter.tensors(carried).items():
        if tensor.is_floating_point() and not any(part in name for part in adapter.keeps):
            error = relative_rms(tensor, want[name])
            trial.below(error, 0.05, f"state {name} after {steps:,} steps {words}")


def _look(adapter: Adapter, trial: Trial) -> None:
    x = trial.tokens(adapter, 3, 9)
    with torch.no_grad():
        states = {"after 9 tokens": adapter(x)[1]}
        if adapter.starts_empty:
            states["initial"] = adapter.initial_state(3)
        states["after one token more"] = adapter(x[:, :1], after(adapter, x))[1]
    wide = torch.float64 if adapter.dtype == torch.float64 else torch.float32
    for when, state in states.items():
        tensors = adapter.tensors(state)
        # A cache may make its tensors with the first token.
        trial.holds(bool(tensors) or when == "initial", f"the state {when} holds no tensor")
        for name, tensor in tensors.items():
            words = f"state {name} {when}"
            trial.holds(
                tensor.ndim > 0 and len(tensor) == 3, f"{words} is not batch first: {tuple(tensor.shape)}"
            )
            if tensor.is_floating_point():
                fits = tensor.dtype == wide or any(part in name for part in adapter.keeps)
                trial.holds(fits, f"{words} is {_short(tensor.dtype)}, expected {_short(wide)}")
            else:
                trial.holds(tensor.dtype == torch.int64, f"{words} is {_short(tensor.dtype)}, expected int64")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
