"""x-transformers: a causal decoder with its cache of keys and values."""
# pyright: reportMissingImports=false

import torch
from x_transformers.attend import Intermediates
from x_transformers.x_transformers import Decoder, LayerIntermediates

from linsight.conformance import Cached, Subject

CAUSES = {}


def decoder() -> Subject:
    """One layer of attention with rotary positions and its feed-forward layer."""
    return Subject("x-transformers Decoder", _decoder)


SUBJECTS = (decoder,)


def _decoder() -> Cached:
    # float32 alone: its softmax is computed in float32 whatever the dtype.
    module = Decoder(dim=16, depth=1, heads=2, attn_dim_head=32, rotary_pos_emb=True, rotary_emb_dim=32)
    return Cached(
        module, 16, call=_call, cache=_empty, keeps=("kv",), state_grows=True, dtypes=(torch.float32,)
    )


def _call(module: Decoder, x: torch.Tensor, cache: dict | None) -> torch.Tensor:
    if cache is None:
        return module(x)
    seen = cache["kv"][0][0].shape[-2]
    layers = [Intermediates(cached_kv=kv, layer_type="a") for kv in cache["kv"]]
    before = LayerIntermediates(attn_intermediates=layers, cache_length=seen) if seen else None
    y, after = module(x, cache=before, cache_age=x.shape[1], return_hiddens=True)
    cache["kv"] = [layer.cached_kv for layer in after.attn_intermediates if layer.cached_kv is not None]
    return y


def _empty(module: Decoder, batch: int) -> dict:
    nothing = next(module.parameters()).new_zeros(batch, 2, 0, 32)
    return {"kv": [(nothing, nothing)]}
