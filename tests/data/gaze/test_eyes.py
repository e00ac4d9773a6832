"""Eyes without end: what an item is a function of, whose eyes they are, and the noise of their labels."""

import math

import numpy as np
import pytest
import torch

from linsight.data.gaze import (
    PITCH,
    YAW,
    Eyes,
    EyeSamples,
    frames,
    mirror_angles,
    persons,
    pixels,
    visual_axis,
)
from linsight.data.gaze.persons import MOST_ITEMS, counters
from linsight.data.noise_laws import Gauss, Hetero, Outlier
from linsight.ops import angular_error, log_map, to_vector

PERSON, ITEMS = np.array([0, 3, 3, 14, 2]), np.array([5, 0, 1, 2999, 7])
QUIET = Eyes(sensor=0.0)
COMMITTED = [
    [-0.3582566, -0.2382151, -0.0014195, 0.0663002, 12.2434473],
    [0.3542638, 0.0302174, 0.0167170, 0.0757956, 12.2322413],
]
"""Gaze, kappa and radius of the eyeball of picture 0 of person 0, and of picture 2,999 of person 14."""


def check_same(one: EyeSamples, other: EyeSamples) -> None:
    """Numbers to rounding; pictures to a grey level, since vectors of floats round by their place."""
    for name, mine, theirs in zip(EyeSamples._fields, one, other, strict=True):
        if name == "image":
            difference = (mine.int() - theirs.int()).abs()
            assert difference.max() <= 1
            assert (difference > 0).double().mean() < 1e-3
        elif mine.is_floating_point():
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(mine, theirs)


def taken(samples: EyeSamples, rows: list[int]) -> EyeSamples:
    return EyeSamples(*(field[rows] for field in samples))


def test_an_item_is_the_same_in_any_company_and_order():
    whole = Eyes(law=Gauss(0.02)).samples(PERSON, ITEMS)
    for row in range(5):
        alone = Eyes(law=Gauss(0.02)).samples(PERSON[row : row + 1], ITEMS[row : row + 1])
        check_same(alone, taken(whole, [row]))
    order = [3, 1, 4, 0, 2]
    check_same(Eyes(law=Gauss(0.02)).samples(PERSON[order], ITEMS[order]), taken(whole, order))
    assert Eyes().samples(PERSON[:0], ITEMS[:0]).image.shape == (0, 1, 36, 60)


def test_another_seed_person_or_item_is_another_picture_and_another_gaze():
    whole = Eyes().samples(np.repeat(np.arange(20), 10), np.tile(np.arange(10), 20))
    other = Eyes().samples(np.repeat(np.arange(20), 10), np.tile(np.arange(10), 20), seed=1)
    gaze = torch.cat([whole.gaze, other.gaze])
    assert len(gaze.unique(dim=0)) == 400
    assert len(torch.cat([whole.image, other.image]).flatten(1).unique(dim=0)) == 400
    assert len(torch.cat([whole.kappa, other.kappa]).unique(dim=0)) == 40, "one kappa a person"


def test_the_draws_never_change():
    """Committed: a change here changes every published number on these eyes."""
    frame = frames(np.array([0, 14]), np.array([0, 2999]))
    person = persons(np.array([0, 14]))
    found = torch.cat([frame.visual, person.kappa, person.eyeball[:, None]], 1)
    expected = torch.tensor(COMMITTED, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-7)
    assert frame.left.tolist() == [False, False]


def test_gaze_is_uniform_and_kappa_normal_over_persons():
    number = np.arange(4000)
    frame, person = frames(number % 15, number), persons(number)
    share = (frame.visual / torch.tensor([PITCH, YAW]) + 1) / 2
    assert share.min() >= 0
    assert share.max() <= 1
    # The standard error of a mean of 4,000 uniform numbers is 0.0046, of their deviation 0.0020.
    torch.testing.assert_close(share.mean(0), torch.full((2,), 0.5).double(), rtol=0, atol=0.02)
    torch.testing.assert_close(share.std(0), torch.full((2,), 12**-0.5).double(), rtol=0, atol=0.01)
    kappa = torch.rad2deg(person.kappa)
    torch.testing.assert_close(kappa.mean(0), torch.tensor([1.5, 5.0]).double(), rtol=0, atol=0.1)
    torch.testing.assert_close(kappa.std(0), torch.tensor([1.0, 1.5]).double(), rtol=0, atol=0.07)
    for radius, least, most in ((person.eyeball, 11.5, 12.5), (person.iris, 5.4, 6.4)):
        assert least <= radius.min() < radius.max() <= most
    assert frame.left.double().mean().item() == pytest.approx(0.5, abs=0.03)


def test_the_label_is_the_visual_axis_and_the_picture_shows_the_optical_one():
    for eyes in (QUIET, Eyes(sensor=0.0, mirror_right=False)):
        found = eyes.samples(np.arange(60) % 15, np.arange(60))
        nasal = torch.where(found.left | found.mirrored, -1.0, 1.0).double()
        expected = visual_axis(found.optical, found.kappa, nasal)
        torch.testing.assert_close(found.gaze, expected, rtol=0, atol=1e-12)
        angle = angular_error(to_vector(found.gaze), to_vector(found.optical))
        kappa = angular_error(to_vector(found.kappa), to_vector(torch.zeros(60, 2).double()))
        torch.testing.assert_close(angle, kappa, rtol=0, atol=1e-12)
        assert math.degrees(angle.mean()) > 3
        # Places: the iris is where the optical axis leaves the eyeball of 11.5 to 12.5 mm.
        offset = (found.iris - found.centre) * 37.5 / 60
        radius = offset / to_vector(found.optical)[:, :2]
        assert ((radius > 11.49) & (radius < 12.51)).all()
        assert torch.equal(found.label, found.gaze)


def test_right_eyes_are_mirrored_and_their_labels_with_them():
    """Without the sensor's noise: the mirrored sample is the flip of the sample as it is."""
    number = np.arange(40)
    aligned, plain = (
        QUIET.samples(number % 4, number),
        Eyes(sensor=0.0, mirror_right=False).samples(number % 4, number),
    )
    right = ~plain.left
    assert torch.equal(aligned.mirrored, right)
    assert not plain.mirrored.any()
    assert 10 < right.sum() < 30
    difference = (aligned.image[right].int() - plain.image[right].flip(-1).int()).abs()
    assert difference.max() <= 1
    check_same(
        taken(aligned, (~right).nonzero()[:, 0].tolist()), taken(plain, (~right).nonzero()[:, 0].tolist())
    )
    for name in ("gaze", "label", "optical", "head"):
        mine, theirs = getattr(aligned, name)[right], getattr(plain, name)[right]
        torch.testing.assert_close(mine, mirror_angles(theirs), rtol=0, atol=1e-12)
    width = torch.tensor([59.0, 0.0]).double()
    for name in ("centre", "iris"):
        mine, theirs = getattr(aligned, name)[right], getattr(plain, name)[right]
        torch.testing.assert_close(mine, width + theirs * torch.tensor([-1.0, 1.0]).double())


def test_both_eyes_of_a_moment_look_the_same_way():
    eyes = Eyes(sensor=0.0, mirror_right=False)
    number = np.arange(12)
    left, right = (eyes.samples(number, number, side=side) for side in ("left", "right"))
    assert left.left.all()
    assert not right.left.any()
    assert torch.equal(left.gaze, right.gaze)
    assert torch.equal(left.kappa, right.kappa)
    # Towards the nose on both sides: the optical axes of the two eyes diverge by twice kappa.
    apart = right.optical[:, 1] - left.optical[:, 1]
    torch.testing.assert_close(apart, 2 * left.kappa[:, 1], rtol=0.15, atol=0)


def test_labels_have_the_noise_of_the_law_in_the_tangent_plane():
    number = np.arange(600)
    for law in (Gauss(0.03), Outlier(0.01, 0.2, 0.1, 0.3), Hetero(0.005, 0.08)):
        found = Eyes(sensor=0.0, law=law, size=(18, 30), supersample=1).samples(number % 15, number)
        residual = log_map(found.gaze, found.label)
        clarity = found.visible.double()
        # The mean of -log p over its own samples is the entropy: that of fresh samples of the law.
        fresh = law.sample(torch.Generator().manual_seed(0), (600, 2), clarity)
        mine, theirs = law.log_prob(residual, clarity), law.log_prob(fresh, clarity)
        spread = (mine.var() / 600 + theirs.var() / 600).sqrt()
        assert (mine.mean() - theirs.mean()).abs() < 4 * spread
        again = Eyes(sensor=0.0, law=law, size=(18, 30), supersample=1).samples(number % 15, number)
        assert torch.equal(again.label, found.label)
    few = found.visible < found.visible.median()
    assert residual[few].norm(dim=1).mean() > 1.2 * residual[~few].norm(dim=1).mean()


def test_the_sensor_has_its_deviation_and_no_mean():
    number = np.arange(50)
    clean, noisy = QUIET.samples(number, number), Eyes().samples(number, number)
    inside = (clean.image > 20) & (clean.image < 235)
    noise = (noisy.image.double() - clean.image.double())[inside]
    assert noise.std().item() == pytest.approx(0.015 * 255, rel=0.02)
    assert noise.mean().abs() < 0.05
    # Of four bytes: nearly normal, so 4.6 % are beyond two deviations.
    assert (noise.abs() > 2 * 0.015 * 255).double().mean().item() == pytest.approx(0.045, abs=0.006)
    one, other = noise[:-1] - noise.mean(), noise[1:] - noise.mean()
    assert ((one * other).mean() / noise.var()).abs() < 0.02
    assert torch.equal(noisy.gaze, clean.gaze)


@pytest.mark.parametrize(("channels", "size"), [(1, (36, 60)), (3, (64, 96)), (1, (5, 7))])
def test_pictures_have_the_size_and_the_channels_asked_for(channels, size):
    found = Eyes(size=size, channels=channels).samples(PERSON, ITEMS)
    assert found.image.shape == (5, channels, *size)
    assert found.image.dtype == torch.uint8
    assert found.eye_mask.shape == (5, *size)
    middle = pixels(torch.zeros(2).double(), size)
    assert (found.centre - middle).abs().max() < size[1] / 4


def test_perspective_moves_pictures_a_little():
    flat = QUIET.samples(PERSON, ITEMS)
    deep = Eyes(sensor=0.0, perspective=True).samples(PERSON, ITEMS)
    assert 0 < (flat.image.int() - deep.image.int()).abs().double().mean() < 4
    assert 0 < (flat.iris - deep.iris).abs().max() < 0.5


def test_counters_of_persons_and_items_never_meet():
    assert counters(np.array([1]), np.array([0]))[0] == MOST_ITEMS
    with pytest.raises(ValueError, match="items: expected integers from 0 to 4294967295, got 4294967296"):
        Eyes().samples(np.array([0]), np.array([MOST_ITEMS]))
    with pytest.raises(ValueError, match="persons: expected integers from 0 to 2147483647, got -1"):
        Eyes().samples(np.array([0, -1]), np.array([0, 0]))


def test_what_is_no_eye_is_refused():
    with pytest.raises(ValueError, match="items: expected 1, one for each person, got 2; repeat the person"):
        Eyes().samples(np.array([0]), np.array([0, 1]))
    with pytest.raises(ValueError, match="sensor: expected a standard deviation from 0 to 1, got -"):
        Eyes(sensor=-0.1)
