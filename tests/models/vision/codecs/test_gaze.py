"""Gaze: residuals of either kind, mirror, bins, pinball."""

import math

import pytest
import torch

from linsight.models.vision.codecs import Directions, make_codec
from linsight.ops import directions

GAZE = Directions()
BASE, TARGET = torch.tensor([[[[0.2, 0.3]]], [[[0.25, 0.2]]]], dtype=torch.float64)
VISIBLE = torch.ones(1, 1, dtype=torch.bool)


def test_errors_are_those_of_the_specification() -> None:
    """Section 4's check: r = (0.051042854, -0.096923561) points to the target; the error points back."""
    error = GAZE.error(BASE, TARGET).flatten()
    assert error.tolist() == pytest.approx([-0.051042854, 0.096923561], abs=1e-9)
    assert Directions("angles").error(BASE, TARGET).flatten().tolist() == pytest.approx([-0.05, 0.1])
    assert Directions(unit=0.5).error(BASE, TARGET).flatten().tolist() == pytest.approx(
        [-0.102085708, 0.193847122]
    )


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("regression_l1", 0.051042854 + 0.096923561),
        ("regression_l2", math.radians(6.276320399) ** 2),
        ("angular", math.radians(6.276320399)),
        ("cosine", 1 - math.cos(math.radians(6.276320399))),
    ],
)
def test_losses_of_two_directions_by_hand(name: str, want: float) -> None:
    codec = make_codec(name, GAZE)
    loss, _ = codec.loss({"mean": BASE}, codec.encode(TARGET, VISIBLE))
    assert loss.item() == pytest.approx(want, abs=1e-9)


def test_yaw_wraps_and_the_tangent_plane_weighs_all_pitches_alike() -> None:
    """-179 and 179 degrees are 2 apart; ten degrees of yaw at pitch 60 are 5.0 of angle."""
    near = torch.deg2rad(torch.tensor([[[0.0, -179.0]]], dtype=torch.float64))
    far = torch.deg2rad(torch.tensor([[[0.0, 179.0]]], dtype=torch.float64))
    for space in (GAZE, Directions("angles")):
        codec = make_codec("regression_l1", space)
        loss, _ = codec.loss({"mean": near}, codec.encode(far, VISIBLE))
        assert math.degrees(loss.item()) == pytest.approx(2, abs=1e-9)
    high, beside = torch.deg2rad(torch.tensor([[[[60.0, 0.0]]], [[[60.0, 10.0]]]], dtype=torch.float64))
    error = GAZE.error(high, beside)
    assert math.degrees(error.norm().item()) == pytest.approx(4.997, abs=0.01)
    assert math.degrees(Directions("angles").error(high, beside).norm().item()) == pytest.approx(10)


def test_a_match_and_the_antipode_have_finite_gradients() -> None:
    for name in ("regression_l1", "regression_l2", "angular", "cosine", "nll_gauss", "rle_exact", "vmf"):
        codec = make_codec(name, GAZE)
        for shift in (0.0, math.pi):
            outputs = {"mean": torch.tensor([[[0.0, shift]]], requires_grad=True)}
            outputs["sigma"] = torch.full((1, 1, 2), 0.1)
            outputs["concentration"] = torch.full((1, 1, 1), 50.0)
            loss, _ = codec.loss(outputs, codec.encode(torch.zeros(1, 1, 2), VISIBLE))
            loss.backward()
            assert loss.isfinite(), (name, shift)
            assert outputs["mean"].grad.isfinite().all(), (name, shift)


def test_the_mean_of_two_directions_is_that_of_their_vectors() -> None:
    """Across the back, yaw 179 and -179 degrees average to 180, not to 0; one above the other, halfway."""
    codec = make_codec("regression_l1", GAZE)
    one, other = torch.deg2rad(torch.tensor([[[[0.0, 179.0]]], [[[0.0, -179.0]]]], dtype=torch.float64))
    mean = codec.average({"mean": one}, {"mean": other})["mean"]
    assert abs(math.degrees(mean[0, 0, 1].item())) == pytest.approx(180)
    both = codec.average({"mean": BASE}, {"mean": TARGET})["mean"]
    u, v, w = (directions.to_vector(one) for one in (BASE, TARGET, both))
    assert directions.angular_error(u, w).item() == pytest.approx(
        directions.angular_error(v, w).item(), abs=1e-9
    )


def test_a_mirror_turns_yaw_and_never_pitch() -> None:
    for name in ("regression_l1", "pinball2", "vmf", "rle"):
        codec = make_codec(name, GAZE).double()
        outputs = codec.perfect(codec.encode(BASE, VISIBLE))
        assert codec.decode(codec.flip(outputs, ())).xy.flatten().tolist() == pytest.approx([0.2, -0.3])
    bins = make_codec("bins", GAZE)
    outputs = bins.perfect(bins.encode(BASE, VISIBLE))
    assert bins.decode(bins.flip(outputs, ())).xy.flatten().tolist() == pytest.approx([0.2, -0.3])


def test_the_mean_over_bins_is_the_truth_for_centres_and_half_a_bin_less_for_edges() -> None:
    """One-hot at the bin of each centre: 28 bins of 3 degrees; left edges are 1.5 degrees below."""
    centres = torch.deg2rad(torch.arange(28).double() * 3 - 40.5)
    truth = torch.stack([centres, centres.flip(0)], -1)[:, None]
    for legacy, below in ((False, 0.0), (True, 1.5)):
        codec = make_codec("bins", GAZE, legacy_edges=legacy)
        targets = codec.encode(truth, torch.ones(28, 1, dtype=torch.bool))
        assert targets["bins"][:, 0, 0].tolist() == list(range(28))
        logits = {
            name: 1e3 * torch.nn.functional.one_hot(targets["bins"][..., axis], 28).double()
            for axis, name in enumerate(("pitch", "yaw"))
        }
        error = torch.rad2deg(codec.decode(logits).xy - truth)
        assert (error + below).abs().max().item() < 1e-9
        loss, _ = codec.loss(logits, targets)
        assert loss.item() == pytest.approx(2 * below**2, abs=1e-9), (
            "the squared gap in degrees, of two angles"
        )
        assert codec.decode(logits).sigma.abs().max() < 1e-6


def test_angles_beyond_the_bins_are_refused_or_counted() -> None:
    truth = torch.deg2rad(torch.tensor([[[10.0, 43.0]], [[1.0, 2.0]]]))
    visible = torch.ones(2, 1, dtype=torch.bool)
    with pytest.raises(
        ValueError, match=r"angles within 0\.733 radians, got \[0\.1745, 0\.7505\] in sample 0"
    ):
        make_codec("bins", GAZE).encode(truth, visible)
    hidden = torch.tensor([[False], [True]])
    assert make_codec("bins", GAZE).encode(truth, hidden)["weight"].tolist() == [[0], [1]]
    codec = make_codec("bins", GAZE, outside="clip")
    targets = codec.encode(truth, visible)
    assert targets["bins"].tolist() == [[[17, 27]], [[14, 14]]]
    _, parts = codec.loss(codec.perfect(targets), targets)
    assert parts["clipped"].item() == 1


def test_pinball_by_hand_through_the_codec() -> None:
    """Prediction 0, width 1: 0.2 at the truth; at an error of 2 radians of yaw the mean of 0.2 and 1.2."""
    codec = make_codec("pinball", Directions("angles"))
    outputs = {"mean": torch.zeros(1, 1, 2), "width": torch.ones(1, 1, 1)}
    for truth, want in (((0.0, 0.0), 0.2), ((0.0, 2.0), 0.7), ((0.0, -2.0), 0.7)):
        loss, _ = codec.loss(outputs, codec.encode(torch.tensor([[truth]]), VISIBLE))
        assert loss.item() == pytest.approx(want, abs=1e-6)
    head = codec.head(3, 1)
    assert head(torch.zeros(1, 3))["width"].item() == pytest.approx(math.pi / 2, rel=1e-6), "pi sigmoid(0)"
    assert make_codec("pinball2", GAZE).head(3, 1)(torch.zeros(1, 3))["width"].shape == (1, 1, 2)


def test_outputs_stay_within_the_sphere() -> None:
    """bound tanh(raw / bound): the identity near 0, pi/2 of pitch and pi of yaw at the most."""
    head = make_codec("regression_l1", GAZE).head(1, 1)
    for raw, want in ((0.01, (0.01, 0.01)), (1e4, (math.pi / 2, math.pi)), (-1e4, (-math.pi / 2, -math.pi))):
        torch.nn.init.constant_(head.layers["mean"].bias, raw)
        assert head(torch.zeros(1, 1))["mean"].flatten().tolist() == pytest.approx(want, rel=1e-4)


def test_degrees_are_told_from_radians() -> None:
    codec = make_codec("regression_l1", GAZE)
    degrees = torch.tensor([[[0.1, 0.2]], [[12.0, -30.0]]])
    visible = torch.ones(2, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"got \[12\.0, -30\.0\] in sample 1; are they degrees\?"):
        codec.encode(degrees, visible)
    codec.encode(degrees, torch.tensor([[True], [False]]))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"bins": 1}, "bins: expected at least 2, got 1"),
        ({"half_range": 4.0}, "half_range: expected radians of 0 to pi, got 4.0"),
        ({"alpha": -1.0}, "alpha: expected a weight of at least 0, got -1.0"),
    ],
)
def test_refusals(options: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make_codec("bins", GAZE, **options)
