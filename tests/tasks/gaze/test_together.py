"""Networks of gaze beside one another: what each learnt of the law, in degrees, and what it is wrong by."""

import math

import pytest
import torch

from linsight.data.noise_laws import noise_law
from linsight.ops import exp_map
from linsight.tasks.exhibits import Curves, Grid

CPU = torch.device("cpu")
LAW = noise_law("gauss", scale=0.05)


def test_who_knows_the_law_draws_the_law_and_who_doubts_is_wider(task, oracle) -> None:
    """Two that say the truth: one with the law's own sigma, one with twice it."""
    built = task(label_noise=LAW, roles={"test_pictures": 20})
    eyes = built.config.labelled.samples(*built.config.roles.rows("test"))
    models = {name: oracle(eyes, eyes.gaze, sigma) for name, sigma in (("knows", 0.05), ("doubts", 0.1))}
    grid, pitch, yaw, coverage, shares = built.shown_together(models, device=CPU)
    assert isinstance(grid, Grid)
    assert grid.column_labels == ("the law", "knows", "doubts")
    for curves in (pitch, yaw):
        assert isinstance(curves, Curves)
        line, law = curves.series["the law"]
        assert max(law) == pytest.approx(max(curves.series["knows"][1]), rel=1e-3)
        assert max(curves.series["doubts"][1]) < 0.7 * max(law)
        # Of a normal law the middle has 1 / (sqrt(2 pi) sigma), here by degrees, less what is cut off.
        assert max(law) == pytest.approx(1 / (math.sqrt(2 * math.pi) * math.degrees(0.05)), rel=0.06)
        assert line[len(line) // 2] == pytest.approx(0, abs=1e-9)
    assert set(coverage.series) == {"knows", "doubts", "calibrated"}
    share = {name: dict(zip(*coverage.series[name], strict=True))[0.5] for name in models}
    assert share["knows"] == pytest.approx(0.5, abs=0.2)
    # exp(-r^2 / 2 s^2) at twice the sigma: half of its plane holds 1 - 2^-4 of the labels.
    assert share["doubts"] == pytest.approx(15 / 16, abs=0.1)
    assert set(shares.series) == {"knows", "doubts"}


def test_all_errors_are_shown_and_the_same_pictures(task, oracle) -> None:
    built = task(roles={"test_pictures": 20})
    eyes = built.config.labelled.samples(*built.config.roles.rows("test"))
    off = exp_map(eyes.gaze, torch.tensor([math.radians(4.9), 0.0], dtype=torch.float64).expand(60, 2))
    models = {"right": oracle(eyes, eyes.gaze), "wrong": oracle(eyes, off)}
    *_, shares = built.shown_together(models, device=CPU)
    line, right = shares.series["right"]
    below = [degrees < 4.9 for degrees in line]
    assert right[1:] == [1.0] * (len(right) - 1)
    assert shares.series["wrong"][1] == [0.0 if one else 1.0 for one in below]


def test_without_a_density_errors_alone_are_shown(task) -> None:
    built = task("regression_l1")
    shown = built.shown_together({"l1": built.build_model()}, device=CPU)
    assert [one.name for one in shown] == ["within"]
    circle = task("vmf")
    shown = circle.shown_together({"vmf": circle.build_model()}, device=CPU)
    assert [one.name for one in shown] == ["coverage", "within"], "a law on the sphere has no plane to draw"
