"""Tiled prediction: weights that sum to 1, and what the docstring says is exact."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from linsight.models.sequence import SequenceConfig
from linsight.models.vision import DenseConfig, PyramidConfig
from linsight.tasks.segment import predict_tiled
from linsight.tasks.segment.tiles import tile_starts, tile_weights

GRIDS = st.tuples(st.integers(1, 6), st.integers(0, 3)).filter(lambda pair: 2 * pair[1] <= pair[0])


class Local(nn.Module):
    """Logits of pixels at most `reach` away, and of the parity of the place in the tile."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        side = 2 * reach + 1
        self.weight = torch.randn(4, 2, side, side, generator=generator)
        self.reach = reach

    def forward(self, images):
        assert len(images) == 1
        rows, columns = (torch.arange(side) % 2 for side in images.shape[2:])
        parity = (rows[:, None] + columns) / 2
        return F.conv2d(images, self.weight, padding=self.reach) + parity * torch.arange(4)[:, None, None]


@settings(max_examples=60)
@given(side=st.integers(1, 200), grid=GRIDS)
def test_tiles_cover_the_axis_and_their_weights_sum_to_1(side, grid):
    tile, overlap = 8 * grid[0], 8 * grid[1]
    starts = tile_starts(side, tile, overlap)
    total = torch.zeros(side)
    for start in starts:
        assert start % 8 == 0
        weights = tile_weights(start, starts, side, tile, overlap)
        assert len(weights) == min(tile, side - start)
        assert ((weights >= 0) & (weights <= 1)).all()
        # The outer quarter of an overlap counts nothing.
        quarter = overlap // 4
        if start > 0:
            assert (weights[:quarter] == 0).all()
        if start < starts[-1]:
            assert (weights[tile - quarter :] == 0).all()
        total[start : start + tile] += weights
    torch.testing.assert_close(total, torch.ones(side))
    assert len(starts) == 1 or starts[-1] + overlap < side


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    grid=GRIDS.filter(lambda pair: pair[1] > 0),
    seed=st.integers(0, 1000),
)
def test_a_model_that_sees_no_further_than_a_quarter_of_the_overlap_is_exact(height, width, grid, seed):
    tile, overlap = 8 * grid[0], 8 * grid[1]
    model = Local(overlap // 4)
    image = torch.randn(2, height, width, generator=torch.Generator().manual_seed(seed))
    whole = model(image[None])
    found = predict_tiled(model, image, tile=tile, overlap=overlap, stride=8)
    assert found.shape == (height, width)
    # Equal up to the rounding of the average: where they differ, two classes are as probable.
    gap = whole.max(1).values - whole.gather(1, found[None, None])[:, 0]
    assert gap.max() < 1e-4


def test_a_model_that_sees_further_is_not_exact():
    """The law above can fail: half an overlap is too far."""
    model = Local(8)
    image = torch.randn(2, 80, 80)
    found = predict_tiled(model, image, tile=32, overlap=8, stride=8)
    assert (found != model(image[None]).argmax(1)[0]).any()


def test_an_image_that_fits_in_a_tile_is_one_call():
    stages = (SequenceConfig(dim=8, layers=1, mlp_dim=8), SequenceConfig(dim=16, layers=1, mlp_dim=16))
    model = DenseConfig(classes=3, backbone=PyramidConfig(stages=stages)).build().eval()
    image = torch.rand(3, 37, 61)
    seen = []
    with torch.no_grad():
        found = predict_tiled(
            model, image, tile=64, overlap=32, progress=lambda done, total: seen.append((done, total))
        )
        assert torch.equal(found, model(image[None]).argmax(1)[0])
    assert seen == [(1, 1)]


def test_mixers_that_see_all_tokens_depend_on_the_tile():
    """What the docstring warns of: a tile's logits are those of the tile as an image."""
    stages = (SequenceConfig(dim=8, layers=2, mlp_dim=8),)
    model = DenseConfig(classes=3, backbone=PyramidConfig(stages=stages)).build().eval()
    image = torch.rand(3, 64, 160)
    with torch.no_grad():
        whole = model(image[None]).softmax(1)
        part = model(image[None, :, :, :64]).softmax(1)
    assert (whole[..., :8] - part[..., :8]).abs().max() > 1e-4


def test_progress_counts_the_tiles():
    seen = []
    predict_tiled(
        Local(1), torch.zeros(2, 40, 24), tile=16, overlap=8, stride=8, progress=lambda *now: seen.append(now)
    )
    assert seen == [(done, 8) for done in range(1, 9)]


@pytest.mark.parametrize(
    ("tile", "overlap", "message"),
    [
        (48, 0, "tile: expected a multiple of the model's stride 32, got 48"),
        (0, 0, "tile: expected a multiple of the model's stride 32, got 0"),
        (64, 16, "overlap: expected a multiple of the model's stride 32 up to half a tile, 32, got 16"),
        (64, 64, "overlap: expected .* up to half a tile, 32, got 64"),
        (64, -32, "overlap: expected .* got -32"),
    ],
)
def test_tiles_off_the_models_grid_are_refused(tile, overlap, message):
    with pytest.raises(ValueError, match=message):
        predict_tiled(Local(1), torch.zeros(2, 8, 8), tile=tile, overlap=overlap)
