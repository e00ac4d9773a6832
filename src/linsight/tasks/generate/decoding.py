"""How much faster a compiled decoding step is than what else has the next token."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from linsight.densities import take_rows
from linsight.mixers import config
from linsight.models.sequence import (
    ImageDensityConfig,
    SequenceConfig,
    SequenceModel,
    Steps,
    generate,
    why_eager,
)
from linsight.profiling import Calls, Case, Speedup, Unmeasured, imported
from linsight.tasks.generate.speed import softmax_peer

__all__ = ["decode_cases"]

CACHE = {1: (2.5, 1.5), 16: (3.0, 2.0), 64: (4.0, 3.0), 256: (5.0, 3.5)}
"""Goal and gate against a cache, by the number of images."""
OWN = {1: (10.0, 5.0), 16: (5.0, 3.0), 64: (3.0, 2.0), 256: (2.0, 1.5)}
"""Goal and gate against the model's own step."""
TOGETHER = 4
"""Steps in a row, as in a loop that draws: after another model's step the weights come from memory again."""
SMALL = ImageDensityConfig(patch=(1, 1))
"""The network of `train generate`, one token a pixel."""
LARGE = ImageDensityConfig(
    patch=(1, 1), sequence=SequenceConfig(dim=256, layers=8, mlp_dim=688, mixers=(config("linear", heads=8),))
)
"""Of 25 MB of weights, which no core's own cache holds."""


def decode_cases() -> Iterator[Case]:
    """Steps at the middle of 784 tokens, which cost what they cost on average, and whole sequences.

    A cache and a prefix that is run again both grow with the position, and so does their time: the step in
    the middle takes the mean of all. A step of a state takes the same at every position.
    """
    for batch, bars in CACHE.items():
        line = Speedup("decode", f"{TOGETHER} steps, B={batch}", "key-value cache", *bars)
        yield Case(line, partial(_steps, SMALL, batch, _beside_cache))
    line = Speedup("decode", f"{TOGETHER} steps, B=1, bfloat16, 8 layers", "key-value cache", 2.5, 1.5)
    yield Case(line, partial(_steps, LARGE, 1, _beside_cache, half=True))
    for batch, bars in OWN.items():
        line = Speedup("decode", f"{TOGETHER} steps, B={batch}", "eager step", *bars)
        yield Case(line, partial(_steps, SMALL, batch, _beside_own))
    line = Speedup("decode", f"{TOGETHER} steps, B=16", "prefix run again", 200.0, 100.0)
    yield Case(line, partial(_steps, SMALL, 16, _beside_prefix))
    for batch in (1, 16):
        line = Speedup("generate", f"784 tokens, B={batch}", "GPT-2 of transformers", 4.0, 2.0)
        yield Case(line, partial(_sequences, SMALL, batch), least=2)


@torch.inference_mode()
def _steps(
    density: ImageDensityConfig,
    batch: int,
    other: Callable[[ImageDensityConfig, SequenceModel, Tensor], Callable[[], tuple[Tensor, ...]]],
    *,
    half: bool = False,
) -> Calls:
    """From the middle on; `half` is held against the model whose matrices were rounded."""
    model = _network(density)
    tokens = torch.zeros(batch, density.num_cells // 2, dtype=torch.int64)
    tokens[:, 0] = 2  # the first start token
    steps = Steps(model, half=half)
    if half:
        for linear in model.stack.modules():
            if isinstance(linear, nn.Linear):
                linear.weight.copy_(linear.weight.bfloat16())
    return Calls(
        _Walk(steps, model, tokens),
        other(density, model, tokens),
        _walk_of(copy.deepcopy(model).double(), tokens),
    )


def _beside_cache(density: ImageDensityConfig, model: SequenceModel, tokens: Tensor) -> "_Walk":
    return _walk_of(softmax_peer(density).network, tokens)


def _beside_own(density: ImageDensityConfig, model: SequenceModel, tokens: Tensor) -> "_Walk":
    return _walk_of(model, tokens)


def _beside_prefix(
    density: ImageDensityConfig, model: SequenceModel, tokens: Tensor
) -> Callable[[], tuple[Tensor, ...]]:
    """The steps as `_Walk` takes them, each by a call of all tokens before it."""
    tokens = torch.cat([tokens, torch.ones_like(tokens[:, :TOGETHER])], dim=1)
    ends = range(tokens.shape[1] - TOGETHER + 1, tokens.shape[1] + 1)

    @torch.inference_mode()
    def again() -> tuple[Tensor, ...]:
        return tuple(model(tokens[:, :end])[0][:, -1] for end in ends)

    return again


class _Walk:
    """Some steps further at each call: a state that is continued twice would be copied."""

    def __init__(self, step: Callable[..., Any], model: SequenceModel, tokens: Tensor) -> None:
        rows = torch.zeros(len(tokens), dtype=torch.int64)
        self.step, self.state = step, take_rows(model(tokens[:1])[1], rows)
        self.token = torch.ones(len(tokens), dtype=torch.int64)

    @torch.inference_mode()
    def __call__(self) -> tuple[Tensor, ...]:
        found = []
        for _ in range(TOGETHER):
            logits, self.state = self.step(self.token, self.state)
            found.append(logits)
        return tuple(found)


def _walk_of(model: SequenceModel, tokens: Tensor) -> _Walk:
    """By the model's own steps."""

    def step(token: Tensor, state: Any) -> tuple[Tensor, Any]:
        logits, state = model(token[:, None], state)
        return logits[:, 0], state

    return _Walk(step, model, tokens)


def _sequences(density: ImageDensityConfig, batch: int) -> Calls:
    """Whole sequences after a start token; GPT-2 has the same width, depth, heads and number of weights."""
    transformers = imported("transformers")
    model = _network(density)
    exact = copy.deepcopy(model).double()
    start = torch.full((batch, 1), 2)
    stack, length = density.sequence, density.num_cells
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=model.head.out_features,
            n_positions=length + 1,
            n_embd=stack.dim,
            n_layer=stack.layers,
            n_head=getattr(stack.mixers[0], "heads"),  # noqa: B009
            n_inner=3 * stack.mlp_dim // 2,  # a gate has a third matrix
            bos_token_id=None,
            eos_token_id=None,
        )
    ).eval()
    drawing = {"do_sample": True, "use_cache": True, "pad_token_id": 0}

    def draw(model: SequenceModel) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(0)
        return (generate(model, start, length, num_tokens=2, generator=generator),)

    return Calls(
        partial(draw, model),
        lambda: (
            theirs.generate(start, attention_mask=torch.ones_like(start), max_new_tokens=length, **drawing),
        ),
        partial(draw, exact),
    )


def _network(density: ImageDensityConfig) -> SequenceModel:
    """With a head that is not 0, which would hide any error.

    Raises:
        Unmeasured: Its steps are not compiled here.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = density.build().eval().requires_grad_(False).network
        nn.init.normal_(model.head.weight)
    if reason := why_eager(model):
        raise Unmeasured(reason)
    return model
