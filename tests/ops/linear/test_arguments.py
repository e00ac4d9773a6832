"""What cannot be computed is refused in one line that names the argument."""

import re

import pytest
import torch

from linsight import ops

Q = torch.rand(2, 5, 3, 4)
V = torch.rand(2, 5, 3, 6)


def refuses(error: type[Exception], message: str, *args, **kwargs) -> None:
    with pytest.raises(error, match=re.escape(message)) as caught:
        ops.linear_attention(*args, **kwargs)
    assert "\n" not in str(caught.value)


def test_tokens():
    refuses(TypeError, "q: expected a floating-point tensor, got a tensor of torch.int64", Q.long(), Q, V)
    refuses(ValueError, "q: expected 4 axes (B, T, H, K), got shape (5, 3, 4)", Q[0], Q, V)
    refuses(ValueError, "v: expected 4 axes (B, T, H, V), got shape (2, 5, 3)", Q, Q, V[..., 0])
    refuses(ValueError, "k: expected q's shape (2, 5, 3, 4), got (2, 4, 3, 4)", Q, Q[:, :4], V)
    refuses(
        ValueError,
        "v: expected the batch, length and heads of q (2, 5, 3) and any number of values, "
        "got shape (2, 5, 2, 6)",
        Q,
        Q,
        V[:, :, :2],
    )


def test_log_decay():
    message = "log_decay: expected shape (3,) or (2, 5, 3) or (2, 5, 3, 4), got (2, 5)"
    refuses(ValueError, message, Q, Q, V, Q[..., 0, 0])
    refuses(
        TypeError, "log_decay: expected a floating-point tensor, got a tensor of torch.bool", Q, Q, V, Q > 0
    )
    refuses(
        ValueError, "log_decay: expected device cpu as of q, got meta", Q, Q, V, torch.empty(3, device="meta")
    )


def test_bonus():
    message = "bonus: only read='before' has a bonus, got it with read='after'"
    refuses(ValueError, message, Q, Q, V, bonus=torch.rand(3, 4))
    message = "bonus: expected shape (3, 4), got (4, 3)"
    refuses(ValueError, message, Q, Q, V, bonus=torch.rand(4, 3), read="before")


def test_initial_state():
    message = "initial_state: expected shape (2, 3, 4, 6), got (2, 3, 6, 4)"
    refuses(ValueError, message, Q, Q, V, initial_state=torch.rand(2, 3, 6, 4))
    message = "initial_state: expected shape (2, 3, 4, 7), got (2, 3, 4, 6)"
    refuses(ValueError, message, Q, Q, V, initial_state=torch.rand(2, 3, 4, 6), normalise=True)


def test_read_feature_map_form_and_chunk_size():
    refuses(ValueError, "read: expected 'after' or 'before', got 'during'", Q, Q, V, read="during")
    message = "feature_map: expected 'identity' or 'elu1', got 'relu'"
    refuses(ValueError, message, Q, Q, V, feature_map="relu")
    message = "form: expected one of auto, naive, parallel, chunk, recurrent, compiled, got 'fft'"
    refuses(ValueError, message, Q, Q, V, form="fft")
    message = "chunk_size: only forms 'chunk' and 'auto' have chunks, got it with form 'parallel'"
    refuses(ValueError, message, Q, Q, V, form="parallel", chunk_size=4)
    refuses(ValueError, "chunk_size: expected at least 1, got 0", Q, Q, V, form="chunk", chunk_size=0)


def test_refusals_come_before_the_empty_row():
    message = "initial_state: expected shape (2, 3, 4, 6), got (1, 3, 4, 6)"
    refuses(ValueError, message, Q[:, :0], Q[:, :0], V[:, :0], initial_state=torch.rand(1, 3, 4, 6))


def test_global_linear_attention():
    with pytest.raises(ValueError, match=r"k: expected q's shape \(2, 5, 3, 4\), got \(2, 4, 3, 4\)"):
        ops.global_linear_attention(Q, Q[:, :4], V)
    with pytest.raises(TypeError, match=r"v: expected a floating-point tensor, got a tensor of torch\.int64"):
        ops.global_linear_attention(Q, Q, V.long())
