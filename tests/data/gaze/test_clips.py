"""Clips of a task: pursuit and saccades by turns, each a function of its numbers alone."""

import numpy as np
import pytest
import torch

from linsight.data.gaze import EyeClips, Eyes, sequence

SMALL = EyeClips(eyes=Eyes(size=(12, 20), supersample=1), frames=8, rate=15.0)


def test_even_items_follow_and_odd_ones_jump_in_the_order_asked_for() -> None:
    person, items = np.array([3, 0, 3, 1]), np.array([1, 4, 0, 7])
    found = SMALL.samples(person, items)
    assert found.eyes.image.shape == (32, 1, 12, 20)
    assert found.jumping[:, 0].tolist() == [True, False, False, True]
    assert (found.jumping == found.jumping[:, :1]).all()
    assert found.moving.any()
    assert not (found.moving & ~found.jumping).any()
    for row, motion in enumerate(("saccades", "pursuit", "pursuit", "saccades")):
        one = slice(row, row + 1)
        eyes, path = sequence(SMALL.eyes, person[one], items[one], 8, motion=motion, rate=15.0, blinks=1.0)
        frames = slice(8 * row, 8 * row + 8)
        assert torch.equal(found.moving[row], path.moving[0])
        assert (found.eyes.person[frames] == int(person[row])).all()
        torch.testing.assert_close(found.eyes.gaze[frames], eyes.gaze, rtol=0, atol=1e-12)
        assert (found.eyes.image[frames].int() - eyes.image.int()).abs().max() <= 1


def test_a_clip_does_not_know_the_others_of_its_batch() -> None:
    person, items = np.array([2, 5, 2]), np.array([0, 1, 3])
    whole = SMALL.samples(person, items)
    for rows in ([1], [2, 0]):
        part = SMALL.samples(person[rows], items[rows])
        gaze = whole.eyes.gaze.unflatten(0, (3, 8))[rows].flatten(0, 1)
        torch.testing.assert_close(part.eyes.gaze, gaze, rtol=0, atol=1e-12)
        assert torch.equal(part.moving, whole.moving[rows])


def test_what_is_no_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="frames: expected at least 1, got 0"):
        EyeClips(frames=0)
    with pytest.raises(ValueError, match="rate: expected a number of frames a second above 0, got -1"):
        EyeClips(rate=-1.0)
    with pytest.raises(ValueError, match=r"blinks: expected from 0 to less than 3\.33 a second, got 4"):
        EyeClips(blinks=4.0)
    with pytest.raises(ValueError, match="items: expected at least one clip, got none"):
        SMALL.samples(np.array([], int), np.array([], int))
