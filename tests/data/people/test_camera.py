"""Cameras: projections by hand, silhouettes of spheres, and crops that frame what they are to."""

import numpy as np
import pytest

from linsight.data.people.camera import Camera, extent, framing

CAMERA = Camera(np.array([100.0]), np.array([[50.0, 40.0]]))


def test_a_projection_by_hand() -> None:
    """(1, 2, 4) m: 100 / 4 + 50 = 75 and 200 / 4 + 40 = 90; the pixel whose centre that is has index 74.5."""
    point = np.array([[[1.0, 2.0, 4.0]]])
    assert CAMERA.places(point).tolist() == [[[75.0, 90.0]]]
    assert CAMERA.keypoints(point).tolist() == [[[74.5, 89.5]]]


def test_a_mirrored_camera_has_mirrored_places() -> None:
    points = np.random.default_rng(0).uniform(1, 3, (1, 5, 3))
    flipped = points * np.array([-1.0, 1.0, 1.0])
    found = CAMERA.mirrored(120).places(flipped)
    assert np.allclose(found[..., 0], 120 - CAMERA.places(points)[..., 0], atol=1e-12)
    assert np.array_equal(found[..., 1], CAMERA.places(points)[..., 1])


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_slopes_are_of_the_centres_of_samples(samples: int) -> None:
    """What lies on the ray of a sample is projected to (i + 1/2) / samples."""
    x, y = CAMERA.slopes((80, 90), samples)
    assert (x.shape, y.shape) == ((1, 90 * samples), (1, 80 * samples))
    points = np.array([[[x[0, 7] * 3, y[0, 11] * 3, 3.0]]])
    assert CAMERA.places(points) == pytest.approx(np.array([[[7.5, 11.5]]]) / samples, abs=1e-4)


def test_the_extent_of_a_sphere_is_that_of_its_points() -> None:
    random = np.random.default_rng(1)
    centre = np.concatenate([random.uniform(-2, 2, (1, 6, 2)), random.uniform(2, 5, (1, 6, 1))], 2)
    radius = random.uniform(0.05, 1.5, (1, 6))
    away = random.normal(size=(200_000, 1, 3))
    away /= np.linalg.norm(away, axis=-1, keepdims=True)
    points = centre + radius[..., None] * away
    slopes = points[..., :2] / points[..., 2:]
    found = extent(centre, radius)[0]
    for low, high, outer in ((slopes.min(0), slopes.max(0), found),):
        assert (outer[:, :2] <= low + 1e-12).all()
        assert (outer[:, 2:] >= high - 1e-12).all()
        assert np.allclose(outer, np.concatenate([low, high], 1), atol=0.02)


def test_a_sphere_around_the_camera_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"centres: expected spheres before the camera, got one at a depth of 0\.5 m"
    ):
        extent(np.array([[[0.0, 0.0, 0.5]]]), np.array([[0.5]]))


def test_framing_by_hand() -> None:
    """Slopes -0.1 to 0.3 and 0 to 0.2 in 80 x 90 pixels: 90 / 0.4 = 225 is less than 80 / 0.2.

    The middle, (0.1, 0.1), is at the middle of the image, (45, 40): 45 - 22.5 and 40 - 22.5.
    """
    slopes = np.array([[-0.1, 0.0, 0.3, 0.2]])
    camera = framing(slopes, (80, 90), np.ones(1), np.zeros((1, 2)))
    assert camera.focal.tolist() == [225.0]
    assert camera.centre.tolist() == [[22.5, 17.5]]
    moved = framing(slopes, (80, 90), np.array([0.5]), np.array([[0.1, -0.25]]))
    assert moved.focal.tolist() == [112.5]
    middle = moved.places(np.array([[[0.1, 0.1, 1.0]]]))
    assert middle[0, 0].tolist() == pytest.approx([45 + 9, 40 - 20], abs=1e-3)


def test_the_numbers_of_a_framing_are_rounded() -> None:
    camera = framing(
        np.array([[-0.123, 0.0, 0.3, 0.217]]), (80, 90), np.array([0.77]), np.array([[0.01, 0.02]])
    )
    for values in camera:
        assert np.array_equal(values * 1024, np.rint(values * 1024))
