"""Where rays meet capsules: against a search along each ray, which knows no formula of a capsule."""

import numpy as np
import pytest
from standing import drawn, still

from linsight.data.people.camera import Camera
from linsight.data.people.capsules import CAPSULES, PART_OF, PARTS, Capsules, capsules, rasterise
from linsight.data.people.skeleton import skeleton

SIZE = (40, 50)


def _camera(batch: int = 1, focal: float = 45.0) -> Camera:
    return Camera(np.full(batch, focal), np.tile([25.0, 20.0], (batch, 1)))


def _shapes(*rows: tuple[list[float], list[float], float]) -> Capsules:
    start, end, radius = (np.array([[row[which] for row in rows]], float) for which in range(3))
    return Capsules(start, end, radius)


def _searched(rays: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    """The depth at which each ray is first within `radius` of a segment, by thirds and halves, in float64."""
    axis = end - start
    squared = axis @ axis

    def distance(depth: np.ndarray) -> np.ndarray:
        away = depth[..., None] * rays - start
        share = np.clip(away @ axis / squared, 0, 1) if squared else np.zeros(away.shape[:-1])
        return np.linalg.norm(away - share[..., None] * axis, axis=-1)

    low, high = np.zeros(rays.shape[:-1]), np.full(rays.shape[:-1], 20.0)
    for _ in range(120):  # the distance to a convex set has one minimum along a ray
        one, other = low + (high - low) / 3, high - (high - low) / 3
        nearer = distance(one) < distance(other)
        low, high = np.where(nearer, low, one), np.where(nearer, other, high)
    missed = distance(low) > radius
    outside, inside = np.zeros_like(low), low
    for _ in range(60):
        middle = (outside + inside) / 2
        beyond = distance(middle) > radius
        outside, inside = np.where(beyond, middle, outside), np.where(beyond, inside, middle)
    return np.where(missed, np.inf, inside)


@pytest.mark.parametrize(
    ("start", "end", "radius"),
    [
        ([0.3, -0.2, 3.0], [-0.6, 0.5, 3.8], 0.25),
        ([-0.9, 0.7, 5.0], [-0.2, -0.9, 2.5], 0.1),
        ([0.0, 0.0, 3.0], [0.0, 0.0, 4.0], 0.3),  # along the optical axis
        ([0.1, 0.2, 3.0], [0.1, 0.2, 3.0], 0.4),  # a sphere
        ([0.6, 0.9, 4.0], [0.6, -0.9, 4.0], 0.2),
    ],
)
def test_rays_meet_a_capsule_where_they_first_come_within_its_radius(
    start: list[float], end: list[float], radius: float
) -> None:
    surface = rasterise(_shapes((start, end, radius)), _camera(), SIZE)
    x, y = _camera().slopes(SIZE, 1)
    rays = np.stack([*np.meshgrid(x[0], y[0]), np.ones(SIZE)], -1).astype(np.float64)
    expected = _searched(rays, np.array(start), np.array(end), radius)
    hit = np.isfinite(expected)
    assert 20 < hit.sum() < hit.size
    assert np.array_equal(np.isfinite(surface.depth[0]), hit)
    assert np.array_equal(surface.capsule[0], np.where(hit, 0, -1))
    assert np.abs(surface.depth[0][hit] - expected[hit]).max() < 2e-3  # at grazing rays; else 1e-5
    assert np.median(np.abs(surface.depth[0][hit] - expected[hit])) < 2e-6


def test_a_sphere_by_hand() -> None:
    """Of radius 1 at 4 m: straight ahead at 3 m. A ray whose sine is over 1/4 misses it."""
    camera = Camera(np.array([50.0]), np.array([[20.5, 20.5]]))
    surface = rasterise(_shapes(([0, 0, 4], [0, 0, 4], 1.0)), camera, (41, 41))
    assert surface.depth[0, 20, 20] == pytest.approx(3, abs=1e-6)
    edge = 50 * np.tan(np.arcsin(0.25))  # 12.9 pixels
    assert np.isfinite(surface.depth[0, 20]).nonzero()[0].tolist() == list(range(8, 33))
    assert 12 < edge < 13


def test_precision_does_not_suffer_from_distance() -> None:
    """The middle of a limb at 100 m is where it is by hand, to a part in ten million of its depth."""
    camera = Camera(np.array([4000.0]), np.array([[25.0, 20.0]]))
    shapes = _shapes(([-0.2, 0.0, 100.0], [0.2, 0.0, 100.0], 0.05))
    surface = rasterise(shapes, camera, SIZE)
    y = camera.slopes(SIZE, 1)[1][0, 20]
    assert surface.depth[0, 20, 25] == pytest.approx(100 - np.sqrt(0.05**2 - (100 * y) ** 2), abs=2e-5)


def test_only_rays_beside_a_capsule_are_not_followed() -> None:
    """The boxes lose nothing: with boxes that are the whole image the surface is the same."""
    body = skeleton(drawn()).at(np.tile([0.1, -0.1, 2.2], (24, 1)))
    shapes, camera = capsules(body), _camera(24)
    surface = rasterise(shapes, camera, SIZE, 2)
    everything = Capsules(shapes.start, shapes.end, shapes.radius)
    whole = type("Wide", (Capsules,), {"extent": lambda self: np.tile([-9.0, -9, 9, 9], (24, 14, 1))})
    again = rasterise(whole(*everything), camera, SIZE, 2)
    assert np.array_equal(surface.depth, again.depth)
    assert np.array_equal(surface.capsule, again.capsule)


def test_the_nearest_capsule_is_seen_whatever_their_order() -> None:
    rows = [([-1.0, 0, 3], [1.0, 0, 3], 0.2), ([0, -1.0, 2.5], [0, 1.0, 2.5], 0.2)]
    one, other = (rasterise(_shapes(*order), _camera(), SIZE) for order in (rows, rows[::-1]))
    assert np.array_equal(one.depth, other.depth)
    assert one.capsule[0, 20, 25] == 1
    assert other.capsule[0, 20, 25] == 0
    assert one.capsule[0, 20, 12] == 0


def test_what_is_outside_the_image_leaves_it_empty() -> None:
    surface = rasterise(_shapes(([9.0, 0, 3], [9.0, 1, 3], 0.2)), _camera(), SIZE)
    assert np.isinf(surface.depth).all()
    assert (surface.capsule == -1).all()


def test_a_body_has_fourteen_capsules_between_its_joints() -> None:
    """By hand, of one who stands still at 4 m."""
    assert len(CAPSULES) == 14
    shapes = capsules(skeleton(still()).at(np.array([[0.0, 0.0, 4.0]])))
    for name, start, end, radius in (
        ("left_upper_arm", (0.19, -0.5, 4), (0.19, -0.21, 4), 0.055),
        ("right_forearm", (-0.19, -0.21, 4), (-0.19, 0.04, 4), 0.045),
        ("left_thigh", (0.12, 0, 4), (0.12, 0.43, 4), 0.08),
        ("right_shank", (-0.12, 0.43, 4), (-0.12, 0.85, 4), 0.06),
        ("shoulders", (0.19, -0.5, 4), (-0.19, -0.5, 4), 0.075),
        ("hips", (0.09, 0, 4), (-0.09, 0, 4), 0.1),
        ("left_flank", (0.095, -0.5, 4), (0.09, 0, 4), 0.1),
        ("neck", (0, -0.5, 4), (0, -0.7, 4), 0.05),
        ("head", (0, -0.66875, 4), (0, -0.73125, 4), 0.105),
    ):
        number = CAPSULES.index(name)
        assert shapes.start[0, number] == pytest.approx(start, abs=3e-6)
        assert shapes.end[0, number] == pytest.approx(end, abs=3e-6)
        assert shapes.radius[0, number] == pytest.approx(radius, abs=1e-9)


def test_labels_of_parts_are_eight_limbs_and_the_rest() -> None:
    assert len(PARTS) == 10
    assert [PARTS[label] for label in PART_OF[:8]] == list(CAPSULES[:8])
    assert set(PART_OF[8:]) == {PARTS.index("trunk_and_head")}
