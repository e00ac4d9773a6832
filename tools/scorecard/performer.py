"""performer-pytorch: self-attention by the random features of FAVOR+."""
# pyright: reportMissingImports=false

import contextlib
import io

import torch
from performer_pytorch.performer_pytorch import SelfAttention, gaussian_orthogonal_random_matrix

from linsight.conformance import Subject, Whole

CAUSES = {
    "causality": "`softmax_kernel` subtracts the largest key feature of the whole sequence, later tokens "
    "included. That would cancel, but 1e-4 is then added to the features and 1e-6 to the denominator.",
    "prefix": "The same: a longer sequence has another largest key feature. With both constants at 0 the law "
    "is kept.",
    "unbiased-features": "`orthogonal_matrix_chunk` takes Q of a QR decomposition as it comes; Q is uniform "
    "only after its columns are multiplied by the signs of R's diagonal.",
    "padding": "The mask sets padded values to 0, and leaves padded keys in the denominator.",
    "gradcheck": "The subtracted maximum is detached. It would cancel but for the two constants: the value "
    "depends on it a little, and the gradient leaves that out.",
    "padding-gradients": "Padded keys stay in the denominator.",
}
UNPROMISED = {"no-rows": "it fails at a batch of no rows, which it never promised to take"}
DTYPES = (torch.float64, torch.float32)


def causal() -> Subject:
    """Causal self-attention, and the matrix of random features."""
    return Subject(
        "performer-pytorch, causal", _causal, features=lambda: gaussian_orthogonal_random_matrix(16, 16)
    )


def bidirectional() -> Subject:
    """Self-attention over padded rows."""
    return Subject("performer-pytorch, bidirectional", _bidirectional)


SUBJECTS = (causal, bidirectional)


def _causal() -> Whole:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that CUDA code is missing
        attention = SelfAttention(32, causal=True, heads=2, dim_head=16)
    return Whole(attention, 32, dtypes=DTYPES, unpromised=UNPROMISED)


def _bidirectional() -> Whole:
    return Whole(
        SelfAttention(32, heads=2, dim_head=16),
        32,
        causal=False,
        masked=lambda attention, x, valid: attention(x, mask=valid),
        dtypes=DTYPES,
        unpromised=UNPROMISED,
    )
