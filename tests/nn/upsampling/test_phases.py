"""The measure of the pattern: 0 without one, 1 for a checkerboard, and the phases counted from the corner."""

import pytest
import torch

from linsight.nn.upsampling import phase_pattern


def test_a_checkerboard_is_1_and_what_has_no_phases_is_0() -> None:
    board = torch.tensor([[0.0, 1], [1, 0]]).repeat(1, 1, 12, 12)
    assert phase_pattern(board) == pytest.approx(1, abs=1e-6)
    flat = torch.randn(2, 3, 1, 1).expand(2, 3, 24, 24)
    assert phase_pattern(flat) == 0


def test_the_border_is_left_out() -> None:
    board = torch.tensor([[0.0, 1], [1, 0]]).repeat(1, 1, 12, 12)
    framed = torch.zeros(1, 1, 24, 24)
    framed[..., :6, :], framed[..., -6:, :], framed[..., :6], framed[..., -6:] = 4 * [0.0]
    noisy = framed.clone()
    noisy[..., :5, :] = board[..., :5, :]
    assert phase_pattern(noisy) == 0
    assert phase_pattern(noisy, border=0) > 0.5


@pytest.mark.parametrize("scale", [2, 3])
def test_it_is_a_ratio_of_deviations(scale: int) -> None:
    """Two channels at 0 and 10, with phases 0, 1, ...: their deviation over that of all means."""
    phases = torch.arange(float(scale**2)).view(scale, scale)
    y = torch.stack([phases, 10 + phases])[None].repeat(1, 1, 10, 10)
    within = phases.std(correction=0)
    want = within / torch.cat([phases.flatten(), 10 + phases.flatten()]).std(correction=0)
    assert phase_pattern(y, scale) == pytest.approx(want.item(), rel=1e-6)


def test_a_map_that_is_all_border_is_refused() -> None:
    with pytest.raises(ValueError, match=r"y: expected at least 14 pixels on each side, got \(13, 20\)"):
        phase_pattern(torch.zeros(1, 1, 13, 20))
    phase_pattern(torch.zeros(1, 1, 14, 14))
