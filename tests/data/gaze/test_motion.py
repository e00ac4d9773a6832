"""Gaze over time: pursuit that is slow, saccades of the main sequence, blinks, clips with exact truth."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from linsight.data.gaze import (
    PITCH,
    YAW,
    Eyes,
    blinking,
    fixations,
    mirror_angles,
    pursuit,
    saccades,
    sequence,
)
from linsight.ops import angular_error, to_vector

LIMITS = torch.tensor([PITCH, YAW], dtype=torch.float64)


def uniform(batch: int, count: int) -> np.ndarray:
    return np.random.default_rng(0).random((batch, count))


def speeds(gaze: Tensor, rate: float) -> Tensor:
    """Degrees a second between neighbouring frames."""
    return torch.rad2deg(angular_error(to_vector(gaze[:, 1:]), to_vector(gaze[:, :-1]))) * rate


def test_pursuit_is_smooth_slow_and_within_the_field():
    found = pursuit(uniform(200, 10), 3000, 100.0)
    assert (found.gaze.abs() <= LIMITS).all()
    assert not found.moving.any()
    # 35 degrees (0.8 2 pi 0.25 + 0.2 2 pi 0.5) a second of yaw, and the same of 25 of pitch.
    fastest = 1.885 * math.hypot(35, 25)
    assert speeds(found.gaze, 100.0).max() < fastest
    assert speeds(found.gaze, 100.0).median() > 3
    jerks = found.gaze.diff(n=2, dim=1).abs().max() * 100.0**2
    assert jerks < YAW * (0.8 * (2 * math.pi * 0.25) ** 2 + 0.2 * (2 * math.pi * 0.5) ** 2) * 1.001
    assert found.gaze.std(1).min() > 0.02, "everybody moves"


@pytest.mark.parametrize("move", [pursuit, saccades])
def test_a_shorter_clip_is_the_beginning_of_a_longer_one_and_the_rate_only_samples(move):
    numbers = uniform(20, 3 * fixations(120, 30.0))
    long = move(numbers if move is saccades else numbers[:, :10], 120, 30.0)
    short = move(numbers if move is saccades else numbers[:, :10], 45, 30.0)
    torch.testing.assert_close(short.gaze, long.gaze[:, :45], rtol=0, atol=1e-13)
    sparse = move(numbers if move is saccades else numbers[:, :10], 60, 15.0)
    torch.testing.assert_close(sparse.gaze, long.gaze[:, ::2], rtol=0, atol=1e-12)


def test_saccades_have_the_duration_and_the_peak_of_the_main_sequence():
    """21 + 2.2 A ms for A degrees; the fastest point is 15 / 8 of the mean speed."""
    rate = 2000.0
    found = saccades(uniform(10, 3 * fixations(6000, rate)), 6000, rate)
    assert (found.gaze.abs() <= LIMITS).all()
    fast = speeds(found.gaze, rate)
    number = 0
    for row in range(10):
        edges = torch.diff(found.moving[row].int()).nonzero()[:, 0].tolist()
        assert not found.moving[row, 0], "a clip begins with a fixation"
        for start, stop in zip(edges[::2], edges[1::2], strict=False):
            turned = found.gaze[row, [start, stop + 1]]
            amplitude = torch.rad2deg(angular_error(to_vector(turned[0]), to_vector(turned[1]))).item()
            expected = 0.021 + 0.0022 * amplitude
            assert (stop - start) / rate == pytest.approx(expected, abs=2 / rate)
            # Straight in pitch and yaw, not on the sphere: some per cent apart.
            assert fast[row, start:stop].max() == pytest.approx(15 / 8 * amplitude / expected, rel=0.12)
            number += 1
    assert number > 40
    still = ~(found.moving[:, 1:] | found.moving[:, :-1])
    assert fast[still].max() < 1e-3, "a fixation does not move"


def test_fixations_last_from_a_fifth_to_three_fifths_of_a_second():
    rate = 1000.0
    found = saccades(uniform(30, 3 * fixations(5000, rate)), 5000, rate)
    for row in found.moving:
        edges = torch.diff(row.int()).nonzero()[:, 0]
        rests = (edges[2::2] - edges[1:-1:2]).double() / rate
        assert (rests >= 0.198).all()
        assert (rests <= 0.602).all()


def test_the_gaze_never_runs_out_of_fixations():
    """All fixations the shortest, all saccades of no amplitude: as many as may be."""
    found = saccades(np.zeros((1, 3 * fixations(900, 30.0))), 900, 30.0)
    assert found.gaze.isfinite().all()
    ends = np.full((1, 3 * fixations(900, 30.0)), 0.0)
    ends[:, 1::6] = 0.999
    late = saccades(ends, 900, 30.0)
    assert late.moving[:, -30:].any() or speeds(late.gaze, 30.0)[:, -30:].max() > 10


def test_a_clip_shows_one_eye_whose_gaze_alone_moves():
    eyes = Eyes(sensor=0.0)
    person, items = np.array([2, 7]), np.array([0, 4])
    for motion in ("pursuit", "saccades"):
        found, trajectory = sequence(eyes, person, items, 6, motion=motion)
        assert found.image.shape == (12, 1, 36, 60)
        gaze = found.gaze.unflatten(0, (2, 6))
        mirrored = found.mirrored.unflatten(0, (2, 6))[:, :1, None]
        expected = torch.where(mirrored, mirror_angles(trajectory.gaze), trajectory.gaze)
        torch.testing.assert_close(gaze, expected, rtol=0, atol=1e-12)
        for name in ("kappa", "head", "person", "left"):
            field = getattr(found, name).unflatten(0, (2, 6))
            assert (field == field[:, :1]).all(), name
        short, _ = sequence(eyes, person, items, 3, motion=motion)
        assert torch.equal(short.image.unflatten(0, (2, 3)), found.image.unflatten(0, (2, 6))[:, :3])
        alone, _ = sequence(eyes, person[1:], items[1:], 6, motion=motion)
        torch.testing.assert_close(alone.gaze, gaze[1], rtol=0, atol=1e-12)
        assert (alone.image.int() - found.image[6:].int()).abs().max() <= 1


def test_blinks_close_rest_and_open_and_there_are_as_many_as_asked_for() -> None:
    rate, seconds = 200.0, 60
    number = math.ceil(seconds / 0.3) + 1
    found = blinking(uniform(100, number), int(rate) * seconds, rate, 0.5)
    assert ((found >= 0) & (found <= 1)).all()
    shut = (found < 1).int()
    begins, ends = ((torch.diff(shut, dim=1) == one).sum().item() for one in (1, -1))
    # Of a renewal process the count varies by less than its root: four deviations.
    assert begins == pytest.approx(100 * seconds * 0.5, abs=4 * math.sqrt(100 * seconds * 0.5))
    # 0.3 s each, of which 0.05 in the dark: as shares of all frames.
    assert shut.double().mean().item() == pytest.approx(0.3 * begins / 100 / seconds, rel=0.02)
    assert (found == 0).double().mean().item() == pytest.approx(0.05 * begins / 100 / seconds, rel=0.05)
    assert abs(begins - ends) <= 100
    # It closes in 0.1 s and opens in 0.15.
    assert torch.diff(found, dim=1).min().item() == pytest.approx(-1 / (0.1 * rate))
    assert torch.diff(found, dim=1).max().item() == pytest.approx(1 / (0.15 * rate))


def test_blinks_never_run_out_and_a_shorter_clip_has_the_same() -> None:
    """Without a wait between them, the lids are shut once in every 0.3 s."""
    dense = blinking(np.zeros((1, 11)), 60, 20.0, 1.0)
    assert (dense[0].reshape(10, 6).amin(1) == 0).all()
    long, short = (
        blinking(uniform(30, 21)[:, :count], frames, 15.0, 1.0) for count, frames in ((21, 90), (8, 30))
    )
    assert torch.equal(short, long[:, :30])
    assert (blinking(uniform(3, 5), 9, 15.0, 0.0) == 1).all()
    for wrong in (-0.1, 3.4, math.nan):
        with pytest.raises(ValueError, match=r"blinks: expected from 0 to less than 3\.33 a second, got"):
            blinking(uniform(3, 5), 9, 15.0, wrong)


def test_behind_closed_lids_the_gaze_is_what_it_is_without_a_blink() -> None:
    person, items = np.arange(6), np.zeros(6, int)
    open_eyes, blinks = (
        sequence(Eyes(size=(12, 20), supersample=1), person, items, 15, rate=15.0, blinks=rate)[0]
        for rate in (0.0, 1.0)
    )
    assert torch.equal(open_eyes.gaze, blinks.gaze)
    assert blinks.visible.min() == 0
    assert open_eyes.visible.min() > 0
    assert (blinks.visible <= open_eyes.visible + 1e-6).all()
    same = (blinks.visible == open_eyes.visible) & (open_eyes.visible > 0)
    assert same.double().mean() > 0.5, "most of the time nobody blinks"


def test_the_sensors_noise_is_new_at_each_frame():
    """A saccade rests in between: frames with one gaze differ by noise alone."""
    found, trajectory = sequence(Eyes(), np.array([1]), np.array([0]), 4, motion="saccades")
    assert not trajectory.moving[0, :3].any()
    difference = (found.image[0].double() - found.image[1].double()) / 255
    assert difference.std().item() == pytest.approx(0.015 * math.sqrt(2), rel=0.1)


def test_what_is_no_motion_is_refused():
    one = np.array([0])
    with pytest.raises(ValueError, match="motion: expected one of pursuit, saccades, got 'nystagmus'"):
        sequence(Eyes(), one, one, 3, motion="nystagmus")
    with pytest.raises(ValueError, match="num_frames: expected an integer of at least 1, got 0"):
        sequence(Eyes(), one, one, 0)
    with pytest.raises(ValueError, match="rate: expected a number of frames a second above 0, got 0"):
        pursuit(uniform(1, 10), 3, 0.0)
    with pytest.raises(ValueError, match="uniform: expected 30 numbers for 45 frames, got 29"):
        saccades(uniform(1, 29), 45, 30.0)
