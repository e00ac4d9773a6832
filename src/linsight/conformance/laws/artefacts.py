"""Laws of what leaves the process: saved weights, exported and compiled graphs."""

import io
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from linsight.conformance.adapter import Adapter
from linsight.conformance.law import law
from linsight.conformance.runs import after
from linsight.conformance.subject import Subject
from linsight.conformance.tolerances import GRADIENTS, SUMS
from linsight.conformance.trial import Trial

__all__ = ["compile", "export", "save_load"]


@law(
    statement="A state dict, saved and loaded into a fresh module, gives the same outputs; a state, saved "
    "and loaded, goes on the same.",
    reason="Everything that decides a function is a parameter or a buffer; everything that decides its "
    "future is in the state.",
    breach="Random features, hashes or caches that are drawn anew: the loaded model is another one.",
    inputs="Two rows of 20 normal tokens; a used module's weights, loaded into a fresh module and into one "
    "that has been used with weights of 0, both with random numbers of another seed.",
    tolerance="Every bit: the same operations run on the same numbers.",
)
def save_load(subject: Subject, trial: Trial) -> None:
    """Through bytes and back."""
    adapter, fresh, used = subject.build(), subject.build(seed=1), subject.build(seed=1)
    x = trial.tokens(adapter, 2, 20)
    with torch.no_grad():
        want = adapter(x)[0]
        for tensor in used.state_dict().values():
            tensor.zero_()
        used(x)
        for words, module in (("fresh", fresh), ("used", used)):
            module.load_state_dict(_through_bytes(adapter.state_dict()))
            trial.same(module(x)[0], want, f"y after loading into a {words} module")
        if adapter.pieces == "any":
            middle = after(adapter, x[:, :11])
            tensors = iter(_through_bytes(list(adapter.tensors(middle).values())))
            loaded = adapter.map_state(lambda _: next(tensors), middle)
            trial.same(
                fresh(x[:, 11:], loaded)[0], adapter(x[:, 11:], middle)[0], "y continued after loading"
            )


@law(
    statement="torch.export takes the call whole, and the exported graph gives the module's outputs and "
    "state.",
    reason="A graph without data-dependent Python is what leaves for ONNX and other runtimes.",
    breach="A model that cannot be shipped, or one whose exported graph has frozen what was data.",
    inputs="Two rows of 9 normal tokens, and one token from a state; float32 (or the most precise dtype).",
    tolerance="SUMS: the graph may add up in another order, 1e-5 in float32.",
    quick=False,
)
def export(subject: Subject, trial: Trial) -> None:
    """Export, run, compare."""
    adapter = next(subject.in_dtypes(torch.float32), None) or subject.build()
    x = trial.tokens(adapter, 2, 9)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own tracing
        graph = torch.export.export(_Whole(adapter), (x,)).module()
        _tensors_agree(adapter, trial, graph(x), _Whole(adapter)(x), "the exported call")
        if adapter.pieces == "any" and not adapter.state_grows:
            state = tuple(adapter.tensors(after(adapter, x)).values())
            step = _Step(adapter, after(adapter, x))
            graph = torch.export.export(step, (x[:, :1], *state)).module()
            want = step(x[:, :1], *state)
            _tensors_agree(adapter, trial, graph(x[:, :1], *state), want, "the exported step")


@law(
    statement="torch.compile captures the call as one graph, forward and backward, and the graph gives the "
    "module's outputs and gradients.",
    reason="Compilation must not change a function; a graph break means Python that decides by data.",
    breach="Compiled training computes something else, or nothing gets faster.",
    inputs="Two rows of 9 normal tokens, float32; backend aot_eager with fullgraph: capture and "
    "decomposition, no code generation (which takes tens of seconds a shape).",
    tolerance="SUMS for outputs, GRADIENTS for gradients.",
    quick=False,
)
def compile(subject: Subject, trial: Trial) -> None:
    """Compile, run, compare."""
    adapter = next(subject.in_dtypes(torch.float32), None) or subject.build()
    x = trial.tokens(adapter, 2, 9)
    module = _Whole(adapter)
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own tracing
        compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
        got, want = _with_gradient(compiled, x), _with_gradient(module, x)
    torch.compiler.reset()
    trial.close(got[0], want[0], SUMS[adapter.dtype], "compiled y")
    trial.close(got[1], want[1], GRADIENTS[adapter.dtype], "gradient of x through the compiled call")


class _Whole(nn.Module):
    """A call without a state, as tensors."""

    def __init__(self, adapter: Adapter) -> None:
        super().__init__()
        self.adapter = adapter

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y, state = self.adapter(x)
        return (y, *self.adapter.tensors(state).values())


class _Step(nn.Module):
    """A call with a state, as tensors; `pattern` is a state of that shape."""

    def __init__(self, adapter: Adapter, pattern) -> None:
        super().__init__()
        self.adapter, self.pattern = adapter, pattern

    def forward(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        rest = iter(tensors)
        y, state = self.adapter(x, self.adapter.map_state(lambda _: next(rest), self.pattern))
        return (y, *self.adapter.tensors(state).values())


def _tensors_agree(adapter: Adapter, trial: Trial, got, want, what: str) -> None:
    trial.holds(len(got) == len(want), f"{what} returns {len(got)} tensors instead of {len(want)}")
    for index, (one, other) in enumerate(zip(got, want, strict=True)):
        trial.close(one, other, SUMS[adapter.dtype], f"{what}, tensor {index}")


def _with_gradient(module: Callable[[Tensor], tuple[Tensor, ...]], x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    y = module(leaf)[0]
    return y.detach(), torch.autograd.grad(y.square().sum(), leaf)[0]


def _through_bytes(content):
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return torch.load(file, weights_only=True)
