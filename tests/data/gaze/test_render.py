"""Pictures of eyes: where things are seen, by geometry; mirrors; lids; light."""

import math

import pytest
import torch
import torch.nn.functional as F
from plain_eyes import plain
from torch import Tensor

from linsight.data.gaze import FIELD, EyeParameters, eye_of, frames, iris_centre, persons, pixels, render
from linsight.data.gaze.eye import DISTANCE
from linsight.ops import to_vector

LARGE = (144, 240)  # 6.4 pixels a mm


def optics(*degrees: tuple[float, float]) -> Tensor:
    return torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))


def draw(number: int) -> EyeParameters:
    """Eyes of many persons, as they are drawn."""
    import numpy as np

    return eye_of(persons(np.arange(number)), frames(np.arange(number), np.arange(number)))


def dark_place(eyes: EyeParameters, **options: bool) -> tuple[Tensor, Tensor]:
    """Middle (x, y in pixel indices) and area (pixels) of what is black in each picture."""
    dark = (render(eyes, LARGE, **options).image[:, 0] < 0.2).double()
    area = dark.sum((1, 2))
    rows, columns = torch.arange(LARGE[0]).double(), torch.arange(LARGE[1]).double()
    x = (dark * columns).sum((1, 2)) / area
    y = (dark * rows[:, None]).sum((1, 2)) / area
    return torch.stack([x, y], 1), area


GAZES = optics((0, 0), (0, 20), (0, -20), (15, 0), (-15, 0), (12, 25), (-20, -30))


def test_who_looks_into_the_camera_has_the_iris_in_the_middle_of_the_eye():
    eyes = plain(optics((0, 0)), centre=[1.5, -1.0])
    assert torch.equal(iris_centre(eyes), eyes.centre)
    middle, _ = dark_place(eyes)
    torch.testing.assert_close(middle, pixels(eyes.centre, LARGE), rtol=0, atol=0.05)


def test_positive_yaw_is_to_the_left_and_positive_pitch_is_up():
    middle, _ = dark_place(plain(optics((0, 0), (0, 20), (15, 0))))
    assert middle[1, 0] < middle[0, 0] - 10
    assert middle[1, 1] == pytest.approx(middle[0, 1].item(), abs=0.1)
    assert middle[2, 1] < middle[0, 1] - 10
    assert middle[2, 0] == pytest.approx(middle[0, 0].item(), abs=0.1)


@pytest.mark.parametrize("perspective", [False, True])
def test_the_iris_is_the_cap_of_the_sphere_around_the_optical_axis(perspective):
    """Its outline is a circle of 6 mm around R cos(30 degrees) of the axis: an ellipse in the picture."""
    centre = torch.tensor([2.0, -1.0], dtype=torch.float64)
    middle, area = dark_place(plain(GAZES, centre=centre), perspective=perspective)
    axis = to_vector(GAZES)
    circle = 12 * math.cos(math.asin(0.5)) * axis
    scale = DISTANCE / (DISTANCE + circle[:, 2:]) if perspective else torch.ones(len(GAZES), 1)
    expected = pixels((centre + circle[:, :2]) * scale, LARGE)
    torch.testing.assert_close(middle, expected, rtol=0, atol=0.25)
    outline = math.pi * 36 * -axis[:, 2] * (LARGE[1] / FIELD) ** 2 * scale[:, 0] ** 2
    # The threshold lies a little inside the soft edge.
    torch.testing.assert_close(area, outline, rtol=0.03, atol=0)


def test_perspective_enlarges_what_is_nearer():
    _, flat = dark_place(plain(optics((0, 0))))
    _, deep = dark_place(plain(optics((0, 0))), perspective=True)
    nearer = (DISTANCE / (DISTANCE - 12 * math.cos(math.asin(0.5)))) ** 2
    assert (deep / flat).item() == pytest.approx(nearer, rel=0.01)


def test_the_arcsine_of_the_irises_place_is_the_optical_axis():
    """Offsets over 12 mm: exact for that radius, within 1 degree on average for radii of 11.5 to 12.5."""
    gaze = torch.deg2rad(torch.rand(500, 2, dtype=torch.float64) * torch.tensor([50.0, 70.0]) - 30)
    for radius, bound in ((torch.full((500,), 12.0), 1e-5), (11.5 + torch.rand(500), 1.0)):
        eyes = plain(gaze, eyeball=radius, centre=[1.0, 0.5])
        offset = (pixels(iris_centre(eyes), (36, 60)) - pixels(eyes.centre, (36, 60))) * FIELD / 60 / 12
        pitch = torch.asin(-offset[:, 1].clamp(-1, 1))
        yaw = torch.asin((-offset[:, 0] / pitch.cos()).clamp(-1, 1))
        error = torch.rad2deg((torch.stack([pitch, yaw], 1) - gaze).abs())
        assert error.mean() < bound


def test_places_are_indices_of_pixel_centres():
    """The middle of 36 x 60 lies between pixels 29 and 30, 17 and 18; a mm is 1.6 pixels."""
    places = pixels(torch.tensor([[0.0, 0.0], [1.0, -1.0]]), (36, 60))
    torch.testing.assert_close(places, torch.tensor([[29.5, 17.5], [31.1, 15.9]]))


@pytest.mark.parametrize("perspective", [False, True])
def test_a_mirrored_eye_makes_the_mirrored_picture(perspective):
    eyes = draw(24)
    one = render(eyes, channels=3, perspective=perspective)
    other = render(eyes.mirrored(), channels=3, perspective=perspective)
    torch.testing.assert_close(other.image, one.image.flip(-1), rtol=0, atol=2e-4)
    torch.testing.assert_close(other.visible, one.visible, rtol=0, atol=1e-4)
    assert (other.eye_mask != one.eye_mask.flip(-1)).double().mean() < 1e-3
    assert (one.image - one.image.flip(-1)).abs().mean() > 0.02, "eyes are not symmetric themselves"
    for mine, twice in zip(eyes, eyes.mirrored().mirrored(), strict=True):
        assert torch.equal(mine, twice)


def test_the_visible_share_is_what_is_counted():
    """Dark pixels over the outline's area, with lids that cut the iris."""
    eyes = plain(GAZES, half_width=14.0, upper=4.0, lower=4.0, sclera=[3.0] * 3)
    _, area = dark_place(eyes)
    outline = math.pi * 36 * -to_vector(GAZES)[:, 2] * (LARGE[1] / FIELD) ** 2
    visible = render(eyes, LARGE).visible.double()
    torch.testing.assert_close(visible, area / outline, rtol=0, atol=0.04)
    assert 0.2 < visible.min() < visible.max() < 0.9


def test_the_visible_share_falls_as_lids_close_and_is_all_or_nothing_at_the_ends():
    openness = torch.linspace(0, 1.2, 13)
    eyes = plain(optics(*[(3, 5)] * 13), half_width=14.0, upper=5.5, lower=4.5, openness=openness)
    visible = render(eyes).visible
    assert visible[0] == 0
    assert (visible.diff() >= 0).all()
    assert visible.diff()[2:].max() > 0.05
    wide = render(plain(GAZES)).visible
    assert (wide >= 0).all()
    assert (wide <= 1).all()
    torch.testing.assert_close(wide[:5], torch.ones(5), rtol=0, atol=0.01)
    drawn = render(draw(200)).visible
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert 0.5 < drawn.mean() < 0.9


def test_the_iris_beyond_the_image_is_not_visible():
    """A small image in height: what would be seen of the iris is above its edge."""
    eyes = plain(optics((25, 0)))
    assert render(eyes, (10, 60)).visible < 0.6
    assert render(eyes, (60, 60)).visible > 0.98


def test_the_upper_lid_follows_the_eye_in_the_head_and_closed_lids_show_nothing():
    lids = {"half_width": 14.0, "upper": 5.0, "lower": 4.0}
    gaze = optics((0, 0), (20, 0), (-20, 0), (20, 0))
    head = optics((0, 0), (0, 0), (0, 0), (20, 0))
    mask = render(plain(gaze, head=head, **lids), LARGE).eye_mask
    top = mask.any(2).int().argmax(1)
    assert top[1] < top[0] < top[2]
    assert top[3] == top[0], "an eye that moves with the head keeps its lids"
    assert not render(plain(gaze, openness=0.0, **lids), LARGE).eye_mask.any()
    assert render(plain(gaze), LARGE).eye_mask.all()


def test_a_turned_head_is_narrower():
    lids = {"half_width": 12.0, "upper": 5.0, "lower": 4.0}
    mask = render(plain(optics((0, 0), (0, 0)), head=optics((0, 0), (0, 50)), **lids), LARGE).eye_mask
    wide = mask.any(1).sum(1).double()
    assert (wide[1] / wide[0]).item() == pytest.approx(math.cos(math.radians(50)), abs=0.03)


def test_the_glint_is_where_the_cornea_reflects_the_light():
    """The brightest place: centre + d axis + r h, h halfway between the light and the camera."""
    light = torch.tensor([[0.4, -0.5, -1.0], [-0.6, 0.1, -1.0]], dtype=torch.float64)
    light = light / light.norm(dim=1, keepdim=True)
    gaze = optics((5, -10), (-4, 12))
    eyes = plain(gaze, light=light, glint_strength=1.0, sclera=[0.1] * 3, glint=600.0)
    image = render(eyes, LARGE).image[:, 0].flatten(1)
    found = torch.stack([image.argmax(1) % LARGE[1], image.argmax(1) // LARGE[1]], 1).double()
    half = light - torch.tensor([0, 0, 1.0])
    half = half / half.norm(dim=1, keepdim=True)
    apart = math.sqrt(12**2 - 6**2) - math.sqrt(7.8**2 - 6**2)
    expected = pixels(apart * to_vector(gaze)[:, :2] + 7.8 * half[:, :2], LARGE)
    torch.testing.assert_close(found, expected, rtol=0, atol=1.0)
    # A fall to a half at n . h = 2^(-1 / e).
    width = (image[0] > 0.5 * image[0].max()).sum().item() / (LARGE[1] / FIELD) ** 2
    assert width == pytest.approx(math.pi * 7.8**2 * 2 * math.log(2) / 600, rel=0.15)


def test_skin_is_brighter_on_the_side_of_the_light():
    light = torch.tensor([[0.8, 0.0, -0.6], [-0.8, 0.0, -0.6]], dtype=torch.float64)
    lids = {"half_width": 10.0, "upper": 3.0, "lower": 3.0, "ambient": 0.3}
    image = render(plain(optics((0, 0), (0, 0)), light=light, **lids)).image[:, 0]
    left, right = image[:, :, :6].mean((1, 2)), image[:, :, -6:].mean((1, 2))
    assert right[0] > left[0] + 0.05
    assert left[1] > right[1] + 0.05


def test_a_pixel_is_the_mean_of_its_samples():
    eyes = draw(6)
    # What is brighter than white is cut off after the mean is taken.
    eyes = eyes._replace(sclera=0.6 * eyes.sclera, skin=0.6 * eyes.skin, glint_strength=0 * eyes.glint)
    fine = render(eyes, (72, 120), supersample=1, channels=3).image
    once = render(eyes, (36, 60), supersample=2, channels=3).image
    torch.testing.assert_close(F.avg_pool2d(fine, 2), once, rtol=0, atol=1e-5)


def test_grey_is_the_luminance_of_the_colours():
    eyes = draw(6)
    eyes = eyes._replace(sclera=0.5 * eyes.sclera, skin=0.5 * eyes.skin, glint_strength=0 * eyes.glint)
    colours, grey = render(eyes, channels=3).image, render(eyes).image
    expected = (colours * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    torch.testing.assert_close(grey, expected, rtol=0, atol=1e-5)


def test_an_eye_is_the_same_in_any_batch():
    eyes = draw(37)
    whole = render(eyes)
    for row in (0, 15, 16, 36):
        alone = render(eyes.rows(row, row + 1))
        torch.testing.assert_close(alone.image[0], whole.image[row], rtol=0, atol=1e-5)
    assert render(eyes.rows(0, 0)).image.shape == (0, 1, 36, 60)


def test_no_eye_is_without_a_picture():
    """Gazes beyond the field, heads turned away, lids of no height: finite and within [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    wild = 3 * (torch.rand(64, 2, generator=generator, dtype=torch.float64) - 0.5)
    eyes = plain(wild, head=wild.flip(0), half_width=14.0, upper=0.0, lower=0.0, lash=1.0, glint_strength=1.0)
    for perspective in (False, True):
        found = render(eyes, (7, 11), perspective=perspective)
        assert found.image.isfinite().all()
        assert found.image.min() >= 0
        assert found.image.max() <= 1
        assert ((found.visible >= 0) & (found.visible <= 1)).all()


def test_what_is_no_picture_is_refused():
    eyes = plain(optics((0, 0)))
    with pytest.raises(ValueError, match=r"size: expected height and width of at least 1, got \(0, 60\)"):
        render(eyes, (0, 60))
    with pytest.raises(ValueError, match="supersample: expected an integer of at least 1, got 0"):
        render(eyes, supersample=0)
    with pytest.raises(ValueError, match=r"channels: expected 1 \(grey\) or 3 \(colours\), got 2"):
        render(eyes, channels=2)
