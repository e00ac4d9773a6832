"""transformers: the Mamba mixer in plain torch, and a Llama layer, with their caches."""
# pyright: reportMissingImports=false

import torch
from transformers import DynamicCache, LlamaConfig, LlamaModel, MambaConfig, logging
from transformers.models.mamba.modeling_mamba import MambaMixer

from linsight.conformance import Cached, Subject

logging.set_verbosity_error()  # it warns that it runs in plain torch

CAUSES = {}
UNPROMISED = {"no-rows": "it fails at a batch of no rows, which it never promised to take"}


def mamba() -> Subject:
    """The mixer of one layer, its slow path."""
    return Subject("transformers MambaMixer", _mamba)


def llama() -> Subject:
    """A model of one layer with a cache of keys and values."""
    return Subject("transformers LlamaModel", _llama)


SUBJECTS = (mamba, llama)


def _mamba() -> Cached:
    config = MambaConfig(hidden_size=16, state_size=8, num_hidden_layers=1, time_step_rank=2)
    return Cached(
        MambaMixer(config, layer_idx=0),
        16,
        call=lambda mixer, x, cache: mixer(x, cache_params=cache),
        cache=lambda mixer, batch: DynamicCache(config=mixer.config),
        pieces="steps",
        keeps=("conv_states",),
        dtypes=(torch.float32,),
    )


def _llama() -> Cached:
    config = LlamaConfig(
        vocab_size=8, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    return Cached(
        LlamaModel(config),
        16,
        call=_tokens,
        cache=lambda model, batch: DynamicCache(config=model.config),
        keeps=("keys", "values"),
        state_grows=True,
        dtypes=(torch.float32,),
        unpromised=UNPROMISED,
    )


def _tokens(model: LlamaModel, x: torch.Tensor, cache: DynamicCache | None) -> torch.Tensor:
    return model(inputs_embeds=x, past_key_values=cache, use_cache=cache is not None).last_hidden_state
