"""Eyes in pictures of any size: crops, mirrored right eyes, calibrations; and calibrations as files."""

import math

import numpy as np
import pytest
import torch

from linsight.data.gaze import Eyes, mirror_angles
from linsight.models.vision import GazeNetConfig, ResidualConfig
from linsight.ops import exp_map
from linsight.tasks.gaze import (
    GazeCalibration,
    calibrate,
    gaze_in_box,
    load_calibration,
    save_calibration,
)

SIZE = (12, 20)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    backbone = ResidualConfig(in_channels=1, widths=(4, 8))
    built = GazeNetConfig(size=SIZE, codec="nll_gauss", backbone=backbone, dim=8, narrow=4, head_pose=True)
    model = built.build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.fixture
def eye() -> torch.Tensor:
    (image,) = Eyes(size=SIZE, supersample=1).samples(np.array([1]), np.array([2])).image
    return image.float() / 255


def picture(eye: torch.Tensor, scale: int = 1, left: int = 0, top: int = 0) -> np.ndarray:
    """A colour picture in which the eye is, each pixel `scale` wide, with noise around it."""
    large = eye[0].double().numpy().repeat(scale, 0).repeat(scale, 1)
    whole = np.random.default_rng(0).random((top + large.shape[0] + 5, left + large.shape[1] + 9, 3))
    whole[top : top + large.shape[0], left : left + large.shape[1]] = large[:, :, None]
    return whole


HEAD = (0.1, -0.2)


def test_the_eye_in_a_box_is_what_the_network_says_of_its_crop(net, eye) -> None:
    """At whatever place and scale: pixels three times as large are averaged back."""
    want = net.gaze(eye[None], torch.tensor([HEAD]))
    for scale, left, top in ((1, 7, 4), (3, 30, 11)):
        box = (left, top, left + 20 * scale, top + 12 * scale)
        found = gaze_in_box(net, picture(eye, scale, left, top), tuple(map(float, box)), head=HEAD)
        torch.testing.assert_close(found.angles, want.xy[0, 0].double(), rtol=0, atol=1e-4)
        torch.testing.assert_close(found.sigma, want.sigma[0, 0].double(), rtol=0, atol=1e-4)
        assert found.middle == (left + 10 * scale - 0.5, top + 6 * scale - 0.5)
        assert found.width == 20 * scale
    alone = eye[0].double().numpy()[:, :, None].repeat(3, 2)
    torch.testing.assert_close(
        gaze_in_box(net, alone, head=HEAD).angles, want.xy[0, 0].double(), rtol=0, atol=1e-4
    )


def test_a_box_of_another_shape_is_enlarged_about_its_middle(net, eye) -> None:
    whole = picture(eye, 1, 7, 4)
    found = gaze_in_box(net, whole, (7.0, 4.0, 27.0, 16.0), head=HEAD)
    narrow = gaze_in_box(net, whole, (15.0, 4.0, 19.0, 16.0), head=HEAD)
    torch.testing.assert_close(narrow.angles, found.angles)
    assert (narrow.middle, narrow.width) == (found.middle, found.width)


def test_a_right_eye_is_a_left_one_in_the_mirror(net, eye) -> None:
    left = eye[0].double().numpy()[:, :, None].repeat(3, 2)
    calibration = calibrate("offset", torch.zeros(1, 2), torch.tensor([[0.05, 0.1]]))
    for fitted in (None, calibration):
        one = gaze_in_box(net, left, head=HEAD, calibration=fitted)
        other = gaze_in_box(
            net, left[:, ::-1].copy(), right=True, head=(HEAD[0], -HEAD[1]), calibration=fitted
        )
        torch.testing.assert_close(mirror_angles(other.angles), one.angles, rtol=0, atol=1e-6)


def test_a_calibration_is_applied_and_survives_its_file(net, eye, tmp_path) -> None:
    left = eye[0].double().numpy()[:, :, None].repeat(3, 2)
    generator = torch.Generator().manual_seed(0)
    said, true = (0.3 * torch.randn(9, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    for kind in ("offset", "ridge", "affine"):
        fitted = calibrate(kind, said, true)
        save_calibration(fitted, tmp_path / "me.json")
        again = load_calibration(tmp_path / "me.json")
        assert all(torch.equal(one, again.state_dict()[name]) for name, one in fitted.state_dict().items())
        plain = gaze_in_box(net, left, head=HEAD).angles
        assert torch.equal(gaze_in_box(net, left, head=HEAD, calibration=again).angles, fitted(plain))
    shift = GazeCalibration()
    shift.residual.copy_(torch.tensor([0.1, 0.0]))
    found = gaze_in_box(net, left, head=HEAD, calibration=shift).angles
    torch.testing.assert_close(found, exp_map(plain, torch.tensor([0.1, 0.0]).double()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "me.json: expected a calibration, got something else"),
        ("[1, 2]", "me.json: expected a calibration, got something else"),
        ('{"matrix": "x"}', "me.json: expected a calibration, got something else"),
        ('{"shift": [0, 0]}', r"me.json: expected finite numbers of .*, got \{'shift': \(2,\)\}"),
        (
            '{"matrix": [[1, 0], [0, 1]], "shift": [0, NaN], "residual": [0, 0]}',
            "me.json: expected finite numbers of ",
        ),
    ],
)
def test_files_that_hold_no_calibration_are_refused(text, message, tmp_path) -> None:
    (tmp_path / "me.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_calibration(tmp_path / "me.json")
    with pytest.raises(FileNotFoundError, match=r"you\.json: no such file; expected a calibration"):
        load_calibration(tmp_path / "you.json")


def test_a_network_that_takes_the_head_asks_for_it(net, eye) -> None:
    with pytest.raises(ValueError, match="head: expected pitch and yaw"):
        gaze_in_box(net, np.zeros((12, 20, 3)))
    found = gaze_in_box(net, np.zeros((12, 20, 3)), head=HEAD)
    assert all(math.isfinite(one) for one in found.angles)
