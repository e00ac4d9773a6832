"""A draw by one uniform number: the inverse of the cumulative law."""

import pytest
import torch

from linsight.densities import draw


def test_uniform_numbers_in_order_fill_the_law(monkeypatch) -> None:
    """u = (i + 1/2) / n: every value comes n p times, up to one at either end, and in order."""
    law = torch.tensor([0.1, 0.0, 0.25, 0.05, 0.6, 0.0], dtype=torch.float64)
    number = 1000
    grid = ((torch.arange(number, dtype=torch.float64) + 0.5) / number)[:, None]
    monkeypatch.setattr(torch, "rand", lambda *_, **__: grid)
    for dtype in (torch.float64, torch.float32):
        drawn = draw(law.log().to(dtype).expand(number, -1))
        assert (torch.bincount(drawn, minlength=6) - number * law).abs().max() <= 1
        assert torch.equal(drawn, drawn.sort().values)


@pytest.mark.parametrize("u", [0.0, 1 - 2.0**-53])
def test_the_ends_of_the_uniform_law_draw_nothing_impossible(monkeypatch, u: float) -> None:
    """Values of probability 0 stand first and last; sums of 300 numbers are rounded below and above 1."""
    monkeypatch.setattr(torch, "rand", lambda n, *_, **__: torch.full((n, 1), u, dtype=torch.float64))
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        logits = torch.randn(500, 300, dtype=torch.float64).to(dtype)
        logits[:, [0, 1, 298, 299]] = -torch.inf
        assert draw(logits).unique().tolist() == ([2] if u == 0 else [297])


def test_one_number_a_row_decides() -> None:
    """The generator moves by as many numbers as there are rows, whatever the number of values."""
    left = []
    for values in (2, 500):
        generator = torch.Generator().manual_seed(1)
        draw(torch.zeros(7, values), generator)
        left.append(torch.rand(1, generator=generator))
    assert torch.equal(*left)


@pytest.mark.parametrize("row", [[torch.nan, 0.0], [torch.inf, 0.0], [-torch.inf, -torch.inf]])
def test_a_row_without_a_law_is_refused(row: list[float]) -> None:
    with pytest.raises(
        ValueError, match="logits: expected numbers, or -inf for some values of a row, got NaN"
    ):
        draw(torch.tensor([[0.0, 1.0], row]))
