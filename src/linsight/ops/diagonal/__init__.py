"""Recurrences whose matrix is diagonal and the same at every token: state spaces, and their kernels."""

from linsight.ops.diagonal.alignment import align_right
from linsight.ops.diagonal.convolution import fft_convolution
from linsight.ops.diagonal.discretisation import discretise_diagonal
from linsight.ops.diagonal.kernel import diagonal_kernel
from linsight.ops.diagonal.recurrence import diagonal_recurrence, diagonal_recurrence_plan
from linsight.ops.diagonal.space import diagonal_space, diagonal_space_piece, diagonal_space_plan

__all__ = [
    "align_right",
    "diagonal_kernel",
    "diagonal_recurrence",
    "diagonal_recurrence_plan",
    "diagonal_space",
    "diagonal_space_piece",
    "diagonal_space_plan",
    "discretise_diagonal",
    "fft_convolution",
]
