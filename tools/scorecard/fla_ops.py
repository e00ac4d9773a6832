"""flash-linear-attention: the reference functions in plain torch; its layers need a GPU."""
# pyright: reportMissingImports=false

import warnings
from functools import partial

import torch
from torch import Tensor

from linsight.conformance import Attention, Subject, Whole

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that there is no GPU
    from fla.layers import LinearAttention, RWKV7Attention
    from fla.ops.gated_delta_rule import naive as gated_delta
    from fla.ops.gla.naive import naive_recurrent_gla
    from fla.ops.linear_attn.naive import naive_chunk_linear_attn, naive_recurrent_linear_attn
    from fla.ops.simple_gla.naive import naive_chunk_simple_gla, naive_recurrent_simple_gla

CAUSES = {
    "any-length": "`naive_chunk_linear_attn` cuts the sequence into blocks of 64 without padding the last.",
    "forms": "`naive_recurrent_gated_delta_rule` takes `beta, g` in this order, and "
    "`naive_chunk_gated_delta_rule` takes `g, beta`: the same call by position exchanges the two.",
    "decay-extremes": "The blocks subtract cumulative sums of log decays, and -inf minus -inf is NaN.",
    "refusals": "`num_hidden_layers=None` is the default, and is computed with.",
}
DTYPES = (torch.float32,)
RESET = {"decay-extremes": "its gates are log sigmoids, and -inf is not among their values"}


def linear_recurrent() -> Subject:
    """Linear attention token by token."""
    carried = partial(naive_recurrent_linear_attn, output_final_state=True)
    return Subject("fla naive_recurrent_linear_attn", partial(Attention, carried, dtypes=DTYPES))


def linear_chunk() -> Subject:
    """Linear attention in blocks of 64."""
    attention = partial(Attention, naive_chunk_linear_attn, carries=False)
    return Subject("fla naive_chunk_linear_attn", partial(_in_blocks, attention))


def simple_gla() -> Subject:
    """A decay of each token: token by token, and in blocks."""
    forms = {"recurrent": naive_recurrent_simple_gla, "chunk": naive_chunk_simple_gla}
    forms = {name: partial(form, output_final_state=True) for name, form in forms.items()}
    return Subject(
        "fla naive simple_gla", partial(Attention, forms, decay="token", dtypes=DTYPES, unpromised=RESET)
    )


def gla() -> Subject:
    """A decay of each feature, token by token."""
    carried = partial(naive_recurrent_gla, output_final_state=True)
    return Subject("fla naive_recurrent_gla", partial(Attention, carried, decay="feature", dtypes=DTYPES))


def gated_delta_rule() -> Subject:
    """The gated delta rule token by token, and in blocks, with arguments by name."""
    return Subject("fla naive gated_delta_rule", lambda: _gated_delta(_by_name))


def gated_delta_rule_by_position() -> Subject:
    """The same two functions with the same arguments, by position."""
    return Subject("fla naive gated_delta_rule, by position", lambda: _gated_delta(_by_position))


def layer() -> Subject:
    """A layer on a machine without a GPU, and one made without an argument that it needs."""
    without = partial(RWKV7Attention, hidden_size=64, head_dim=32, layer_idx=0)
    return Subject("fla LinearAttention and RWKV7Attention", _layer, mistakes={"num_hidden_layers": without})


LAWS = {"gated_delta_rule_by_position": ("forms",), "layer": ("any-length", "refusals")}
SUBJECTS = (
    linear_recurrent,
    linear_chunk,
    simple_gla,
    gla,
    gated_delta_rule,
    gated_delta_rule_by_position,
    layer,
)


def _in_blocks(attention: partial[Attention]) -> Whole:
    return Whole(attention(), 16, multiple=64, call=lambda made, x: made(x)[0], dtypes=DTYPES)


def _gated_delta(call) -> Attention:
    forms = (gated_delta.naive_recurrent_gated_delta_rule, gated_delta.naive_chunk_gated_delta_rule)
    functions = {name: partial(call, form) for name, form in zip(("recurrent", "chunk"), forms, strict=True)}
    return Attention(functions, decay="token", dtypes=DTYPES, unpromised=RESET)


def _by_name(form, q: Tensor, k: Tensor, v: Tensor, g: Tensor, initial_state: Tensor | None):
    k = torch.nn.functional.normalize(k, dim=-1)
    return form(q, k, v, beta=g.exp(), g=g, initial_state=initial_state, output_final_state=True)


def _by_position(form, q: Tensor, k: Tensor, v: Tensor, g: Tensor, initial_state: Tensor | None):
    k = torch.nn.functional.normalize(k, dim=-1)
    return form(q, k, v, g.exp(), g, initial_state=initial_state, output_final_state=True)


def _layer() -> Whole:
    module = LinearAttention(hidden_size=32, num_heads=2, layer_idx=0)
    return Whole(
        module,
        32,
        call=lambda made, x: made(x)[0],
        dtypes=DTYPES,
        unpromised={"any-length": "its kernels are Triton's, and run on GPUs alone"},
    )
