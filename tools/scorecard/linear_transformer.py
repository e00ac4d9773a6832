"""linear-attention-transformer: causal linear attention in buckets."""
# pyright: reportMissingImports=false

from functools import partial

import torch
from linear_attention_transformer.linear_attention_transformer import SelfAttention

from linsight.conformance import Subject, Whole

CAUSES = {
    "any-length": "`causal_linear_attn` asserts that the bucket divides the length.",
    "sight": "A token sees the buckets before its own alone; in the first bucket there is nothing to see and "
    "the output is constant.",
}
UNPROMISED = {"no-rows": "it fails at a batch of no rows, which it never promised to take"}
BLIND = {
    "any-length": "it says that the bucket is to divide the length, and offers an Autopadder",
    "sight": "its README tells of the blind spot and advises to pair it with local attention",
}


def blindspot_64() -> Subject:
    """Buckets of 64, as in the README, without the local attention that is to cover them."""
    return Subject("linear-attention-transformer, buckets of 64", partial(_attention, 64, BLIND))


def blindspot_1() -> Subject:
    """Buckets of 1: exact causal linear attention."""
    return Subject("linear-attention-transformer, buckets of 1", partial(_attention, 1, {}))


SUBJECTS = (blindspot_64, blindspot_1)


def _attention(bucket: int, unpromised: dict[str, str]) -> Whole:
    return Whole(
        SelfAttention(16, 2, causal=True, blindspot_size=bucket),
        16,
        multiple=bucket,
        masked=lambda attention, x, valid: attention(x, input_mask=valid),
        dtypes=(torch.float64, torch.float32),
        unpromised=UNPROMISED | unpromised,
    )
