"""T5's relative bias: which distances share a number, and what the numbers are at first."""

import math

import torch

from linsight.nn import RelativeBias


def test_causal_buckets_are_those_of_t5() -> None:
    bias = RelativeBias(causal=True, initial=1.0)
    with torch.no_grad():
        bias.weight.copy_(torch.arange(32.0))
    found = bias(torch.tensor([-3, 0, 1, 15, 16, 17, 31, 32, 63, 64, 127, 128, 9999])).tolist()
    want = [0, 0, 1, 15] + [
        min(16 + int(math.log(n / 16) / math.log(8) * 16), 31)
        for n in (16, 17, 31, 32, 63, 64, 127, 128, 9999)
    ]
    assert found == want


def test_keys_ahead_have_numbers_of_their_own() -> None:
    bias = RelativeBias(causal=False, initial=1.0)
    with torch.no_grad():
        bias.weight.copy_(torch.arange(32.0))
    assert bias(torch.tensor([0, 1, 7, 500, -1, -7, -500])).tolist() == [0, 1, 7, 15, 17, 23, 31]


def test_the_span_holds_every_distance_in_order() -> None:
    bias = RelativeBias(causal=False, initial=1.0)
    torch.testing.assert_close(bias.span(3), bias(torch.tensor([-2, -1, 0, 1, 2])))


def test_it_starts_positive_and_falls_with_the_root_of_the_distance() -> None:
    for causal in (True, False):
        bias = RelativeBias(causal=causal, initial=0.5)
        torch.testing.assert_close(
            bias(torch.tensor([0, 3, 500])), 0.5 / torch.tensor([1.0, 4.0, 1.0 + _last(causal)]).sqrt()
        )
        assert (bias.weight > 0).all()


def _last(causal: bool) -> int:
    """The first distance of the last bucket."""
    bucket = (lambda n: 16 + math.log(n / 16) / math.log(8) * 16) if causal else None
    if bucket is None:
        return next(n for n in range(8, 129) if 8 + math.log(n / 8) / math.log(16) * 8 + 1e-9 >= 15)
    return next(n for n in range(16, 129) if bucket(n) + 1e-9 >= 31)
