"""What every classification metric asks of its input."""

import torch
from torch import Tensor

__all__ = ["check_classification"]

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def check_classification(log_prob: Tensor, labels: Tensor) -> Tensor:
    """Refuse anything but normalised log-probabilities (batch, classes) and integer labels (batch,).

    Returns:
        The labels as int64, on the device of `log_prob`.

    Raises:
        TypeError: log_prob is not floating point; labels are not integers (bool is none).
        ValueError: Another rank or size; a label outside 0..classes - 1; a row that does not sum to 1, as of
            logits, probabilities, or NaN. (-inf, a probability of 0, is accepted.)
    """
    if not log_prob.is_floating_point():
        raise TypeError(f"log_prob: expected floating point, got {log_prob.dtype}")
    if labels.dtype not in _INTEGERS:
        raise TypeError(
            f"labels: expected integers, got {labels.dtype}; use labels.long() if they are class numbers"
        )
    if log_prob.ndim != 2 or log_prob.shape[1] < 2:
        raise ValueError(f"log_prob: expected shape (batch, classes >= 2), got {tuple(log_prob.shape)}")
    batch, classes = log_prob.shape
    if labels.shape != (batch,):
        raise ValueError(
            f"labels: expected shape ({batch},), one for each row of log_prob, got {tuple(labels.shape)}"
        )
    labels = labels.to(log_prob.device, torch.int64)
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        first = int(outside.nonzero()[0, 0])
        raise ValueError(f"labels: expected 0 to {classes - 1}, got {int(labels[first])} at index {first}")
    _check_rows(log_prob)
    return labels


def _check_rows(log_prob: Tensor) -> None:
    # float32 log-softmax is normalised to about 1e-6; bfloat16 keeps log p ~ -7 to 0.03.
    tolerance = 1e-4 if log_prob.dtype in (torch.float32, torch.float64) else 5e-2
    total = log_prob.detach().double().logsumexp(dim=1)
    wrong = ~(total.abs() <= tolerance)
    if wrong.any():
        first = int(wrong.nonzero()[0, 0])
        raise ValueError(
            f"log_prob: expected rows whose probabilities sum to 1, got {total[first].exp().item():.6g} "
            f"in row {first}; pass log_softmax(logits), not logits or probabilities"
        )
