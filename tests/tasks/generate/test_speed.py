"""The speed of the three routes: exact sums of measured steps, and true bytes of state."""

import numpy as np
import pytest
import torch

from linsight import densities
from linsight.mixers import config
from linsight.models.sequence import ImageDensityConfig, SequenceConfig
from linsight.tasks.generate.speed import Route, measure_routes, softmax_peer, speed_exhibits


def _model(patch: tuple[int, int] = (1, 4), kinds: tuple[str, ...] = ("linear",), size=(8, 8)):
    sequence = SequenceConfig(
        dim=8, layers=2, mlp_dim=8, mixers=tuple(config(kind, heads=2) for kind in kinds)
    )
    return ImageDensityConfig(height=size[0], width=size[1], patch=patch, sequence=sequence).build().eval()


def test_a_cost_that_is_linear_in_the_position_is_summed_exactly() -> None:
    """Measured at 1, 5, 12 and 20: sum of 3 + 2 n for n = 1 .. 20."""
    places = (1, 5, 12, 20)
    route = Route("linear", places, tuple(3.0 + 2 * place for place in places), 0)
    assert route.step_seconds(20) == pytest.approx([3.0 + 2 * n for n in range(1, 21)])
    assert route.total_seconds(20) == pytest.approx(sum(3 + 2 * n for n in range(1, 21)))


def test_steps_that_are_all_measured_are_added_up() -> None:
    seconds = tuple(np.random.default_rng(0).random(9))
    route = Route("all", tuple(range(1, 10)), seconds, 0)
    assert route.total_seconds(9) == pytest.approx(sum(seconds))
    assert route.total_seconds(4) == pytest.approx(sum(seconds[:4]))
    assert Route("one", (1,), (0.5,), 0).total_seconds(1) == 0.5


def test_state_bytes_are_what_the_mixers_say() -> None:
    """Of the whole batch after the last of 16 tokens; the cache of the peer grows, the state does not."""
    model = _model()
    state, cache, prefix = measure_routes(model, softmax_peer(model.config), batch=3)
    blocks = model.network.stack.blocks
    layers = sum(block.mixer.state_size(16) for block in blocks)
    keys_and_values = 2 * 16 * 8 * 4
    assert cache.state_bytes - state.state_bytes == 3 * (2 * (keys_and_values + 8) - layers)
    logits = 4 * (2**4 + 10)
    assert state.state_bytes > 3 * (layers + logits)
    assert state.state_bytes < 3 * (layers + logits + 8 * 2 * 2 * 16 + 64)  # cells that are looked back to
    assert prefix.state_bytes == 0


def test_every_step_is_measured_and_the_prefix_at_both_ends() -> None:
    model = _model()
    state, cache, prefix = measure_routes(model, softmax_peer(model.config), batch=2)
    for route in (state, cache):
        assert route.positions == tuple(range(1, 17))
        assert len(route.seconds) == 16
    assert prefix.positions == (1, 2, 4, 6, 8, 10, 12, 14, 16)
    assert all(seconds > 0 for route in (state, cache, prefix) for seconds in route.seconds)
    assert state.name == "state (linear attention)"
    assert prefix.name == "re-running the prefix (linear attention)"


def test_the_peer_is_the_same_network_with_softmax_attention() -> None:
    model = _model(kinds=("linear", "softmax"))
    peer = softmax_peer(model.config)
    assert [block.mixer.config.kind for block in peer.network.stack.blocks] == ["softmax", "softmax"]
    assert sum(p.numel() for p in peer.parameters()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("kinds", "heads"), [(("flash",), 4), (("flash", "linear"), 2)])
def test_the_peer_of_mixers_without_heads(kinds: tuple[str, ...], heads: int) -> None:
    options = {"flash": {"key_dim": 4, "chunk": 4}, "linear": {"heads": 2}}
    sequence = SequenceConfig(
        dim=8, layers=2, mlp_dim=8, mixers=tuple(config(kind, **options[kind]) for kind in kinds)
    )
    peer = softmax_peer(ImageDensityConfig(height=4, width=4, patch=(1, 1), classes=2, sequence=sequence))
    assert [block.mixer.heads for block in peer.network.stack.blocks] == [heads, heads]


def test_the_table_compares_every_route_with_the_state() -> None:
    model = _model()
    before = torch.get_rng_state()
    metrics, (table, curves) = speed_exhibits(model, batch=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(table.rows) == 3
    assert float(table.rows[0][4]) == 1.0
    assert metrics["sampled_images_per_second"] == pytest.approx(float(table.rows[0][1]), rel=0.01, abs=0.1)
    assert set(curves.series) == {row[0] for row in table.rows}
    assert "2 images at a time, 16 steps each" in table.note


def test_a_density_of_pixels_has_a_state_and_no_cache() -> None:
    model = densities.build("fvsbn", height=4, width=4, label="none").eval()
    metrics, (table, _) = speed_exhibits(model, batch=2)
    assert [row[0] for row in table.rows] == ["state", "re-running the prefix"]
    assert metrics["sampled_images_per_second"] > 0
    state, _ = measure_routes(model, batch=2)
    assert state.state_bytes == 2 * 16 * 4
    assert state.positions == tuple(range(1, 17))


def test_first_and_last_steps_of_the_prefix_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three measured positions the ten steps at each end are interpolated, not the mean of all three."""
    from linsight.tasks.generate import speed

    places = (1, 50, 100)
    rising = Route("prefix", places, tuple(0.001 * place for place in places), 0)
    monkeypatch.setattr(speed, "measure_routes", lambda *args, **kwargs: (rising, rising, rising))
    _, (table, _) = speed_exhibits(_model(patch=(1, 1), size=(10, 10)), batch=1)
    assert table.rows[2][3] == "5.50 / 95.50"


def test_an_image_of_a_single_token_has_a_speed_too() -> None:
    metrics, _ = speed_exhibits(_model(patch=(2, 4), size=(2, 4)), batch=2)
    assert metrics["sampled_images_per_second"] > 0
