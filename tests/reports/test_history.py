"""The curves of a training: what is drawn together, what is left out, and that it is said."""

from linsight.reports.history import training_curves


def test_train_and_valid_of_a_quantity_share_a_picture() -> None:
    series = {
        "train/nll_nats_per_image": ([1, 2], [2.0, 1.0]),
        "learning_rate": ([1, 2], [0.1, 0.2]),
        "valid/nll_nats_per_image": ([2], [1.5]),
    }
    nll, rate = training_curves(series)
    assert set(nll.series) == {"train", "valid"}
    assert (nll.title, nll.y_label, nll.x_label) == ("nll", "nll (nats per image)", "step")
    assert set(rate.series) == {"learning_rate"}
    assert len({curve.name for curve in (nll, rate)}) == 2


def test_the_clock_an_empty_series_and_a_count_of_zeros_are_not_drawn() -> None:
    zeros = {"seconds": ([1], [5.0]), "skipped_steps": ([1, 2], [0.0, 0.0]), "train/loss": ([], [])}
    assert training_curves(zeros) == []


def test_a_steep_fall_is_left_out_and_said() -> None:
    """540 nats at the first step would leave a pixel for the last 80."""
    steps = list(range(20, 2001, 20))
    values = [540.0 if step <= 60 else 90.0 - step / 200 for step in steps]
    (curve,) = training_curves({"train/loss": (steps, values)})
    kept, seen = curve.series["train"]
    assert kept[0] == 100
    assert max(seen) < 90
    assert curve.note == "The first 100 steps, down from 540, are left out."


def test_a_gentle_fall_a_rise_and_a_short_run_are_whole() -> None:
    steps = list(range(1, 101))
    for values in ([2.0 - step / 100 for step in steps], [float(step) for step in steps]):
        (curve,) = training_curves({"train/loss": (steps, values)})
        assert curve.series["train"] == (steps, values)
        assert curve.note == ""
    (curve,) = training_curves({"train/loss": ([1, 2], [500.0, 1.0])})
    assert curve.series["train"][0] == [1, 2]
