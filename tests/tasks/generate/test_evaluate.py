"""What an evaluation says of a model is what the model says of the images, counted by other means."""

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import torch

from linsight.tasks.exhibits import Curves, Evaluation, Grid, Heatmap, Table
from linsight.tasks.generate import GenerateTask
from linsight.tasks.generate.known import KNOWN_NATS

CPU = torch.device("cpu")
# What the names of metrics that are no plain share must say.
UNITS = ("nats", "bits_per_pixel", "bits_per_image", "per_second")
SHARES = ("accuracy", "calibration_error")


@pytest.fixture
def evaluated(task, awake) -> Callable[..., tuple[GenerateTask, torch.nn.Module, Evaluation]]:
    def build(split: str = "test", **options):
        built = task(**options)
        model = awake(built.build_model())
        return built, model, built.evaluate(model, split, device=CPU)

    return build


def _tables(evaluation: Evaluation) -> dict:
    return {exhibit.name: exhibit for exhibit in evaluation.exhibits}


def _joint(model, x, place: str) -> np.ndarray:
    """log p(x, y) of every label `(images, classes)`, label by label and image by image, in float64."""
    with torch.no_grad():
        columns = [
            torch.cat([model.log_prob(one[None], torch.tensor([label]), label=place) for one in x])
            for label in range(model.classes)
        ]
    return torch.stack(columns, dim=1).double().numpy()


def _logsumexp(a: np.ndarray) -> np.ndarray:
    top = a.max(1)
    return top + np.log(np.exp(a - top[:, None]).sum(1))


def _calibration_error(p: np.ndarray, y: np.ndarray, bins: int = 15) -> float:
    error = 0.0
    for m in range(bins):
        inside = (p.max(1) > m / bins) & (p.max(1) <= (m + 1) / bins)
        if inside.any():
            gap = (p.argmax(1) == y)[inside].mean() - p.max(1)[inside].mean()
            error += inside.mean() * abs(gap)
    return error


@pytest.mark.parametrize("split", ["valid", "test"])
@pytest.mark.parametrize("label", ["first", "last", "both"])
def test_metrics_are_those_of_another_computation(evaluated, label: str, split: str) -> None:
    built, model, evaluation = evaluated(split, label=label, bayes_images=7)
    assert evaluation.split == split
    x, y = built.split(split)
    truth, metrics = y.numpy(), evaluation.metrics
    joints = {place: _joint(model, x, place) for place in model.places}
    for place, joint in joints.items():
        number = len(x) if place == "last" else 7
        some, own = joint[:number], truth[:number]
        marginal = _logsumexp(some)
        p = np.exp(some - marginal[:, None])
        expected = {
            "image_nats": -marginal.mean(),
            "joint_nats": -some[np.arange(number), own].mean(),
            "label_nats": -np.log(p[np.arange(number), own]).mean(),
            "accuracy": (p.argmax(1) == own).mean(),
            "calibration_error": _calibration_error(p, own),
        }
        for name, value in expected.items():
            assert metrics[f"{name}_label_{place}"] == pytest.approx(value, rel=1e-5), name
        confusion = _tables(evaluation)[f"confusion_{place}"].matrix
        counts = np.zeros((3, 3), dtype=int)
        np.add.at(counts, (own, p.argmax(1)), 1)
        assert (confusion == counts).all()
    main = joints.get("last", joints.get("first"))
    nats = -_logsumexp(main if "last" in joints else main[:7])
    assert metrics["nll_nats_per_image"] == pytest.approx(nats.mean(), rel=1e-5)
    assert metrics["nll_standard_error_nats"] == pytest.approx(nats.std(ddof=1) / len(nats) ** 0.5, rel=1e-3)
    assert metrics["nll_bits_per_pixel"] == pytest.approx(nats.mean() / np.log(2) / 64, rel=1e-5)
    assert ("disagreement_nats" in metrics) == (label == "both")
    if label == "both":
        true = [joint[np.arange(7), truth[:7]] for joint in joints.values()]
        assert metrics["disagreement_nats"] == pytest.approx(np.abs(true[0] - true[1]).mean(), rel=1e-4)


def test_without_labels_there_is_p_of_x_alone(evaluated) -> None:
    built, model, evaluation = evaluated(label="none")
    x, _ = built.split("test")
    with torch.no_grad():
        nats = -model.log_prob(x).double().mean().item()
    assert evaluation.metrics["nll_nats_per_image"] == pytest.approx(nats, rel=1e-6)
    assert [exhibit.name for exhibit in evaluation.exhibits] == [
        "samples",
        "inpainting",
        "inpainting_ways",
        "nats",
        "compression",
        "speed",
        "step_time",
    ]
    assert not any("label" in name for name in evaluation.metrics)
    assert len(_tables(evaluation)["nats"].rows) == 2


def test_every_metric_is_finite_and_names_its_unit(evaluated) -> None:
    for name, value in evaluated()[2].metrics.items():
        assert isinstance(value, float), name
        assert np.isfinite(value), name
        share = name.startswith(SHARES)
        assert share or any(unit in name for unit in UNITS), f"{name} has no unit"
        assert not share or 0 <= value <= 1


def test_two_evaluations_say_the_same_and_move_no_random_state(task, awake) -> None:
    """All but the measured times: numbers, tables, and pictures, whose samples have their own seed."""
    built = task()
    model = awake(built.build_model())
    before = torch.get_rng_state()
    first = built.evaluate(model, "test", device=CPU)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(123)
    second = task().evaluate(model, "test", device=CPU)
    for name in first.metrics.keys() - {"sampled_images_per_second"}:
        assert first.metrics[name] == second.metrics[name], name
    for one, other in zip(first.exhibits, second.exhibits, strict=True):
        if one.name in ("speed", "step_time"):
            continue
        for field in fields(one):
            a, b = getattr(one, field.name), getattr(other, field.name)
            assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, f"{one.name}.{field.name}"


def test_the_exhibits_are_all_there_and_well_formed(evaluated) -> None:
    _, _, evaluation = evaluated(bayes_images=5)
    assert [exhibit.name for exhibit in evaluation.exhibits] == [
        "samples",
        "classes",
        "inpainting",
        "inpainting_ways",
        "nats",
        "classification",
        "confusion_last",
        "confusion_first",
        "compression",
        "speed",
        "step_time",
    ]
    for exhibit in evaluation.exhibits:
        assert exhibit.title
        if isinstance(exhibit, Table):
            assert all(len(row) == len(exhibit.columns) for row in exhibit.rows)
        elif isinstance(exhibit, Grid):
            number, *size = exhibit.images.shape
            assert size == [8, 8]
            assert 0 <= exhibit.images.min() <= exhibit.images.max() <= 1
            assert number % exhibit.columns == 0
            assert len(exhibit.row_labels) in (0, number // exhibit.columns)
        elif isinstance(exhibit, Heatmap):
            assert exhibit.matrix.shape == (len(exhibit.row_labels), len(exhibit.column_labels))
            assert exhibit.matrix.sum() == (24 if exhibit.name == "confusion_last" else 5)
        else:
            assert isinstance(exhibit, Curves)
            assert all(len(x) == len(y) for x, y in exhibit.series.values())
            assert "(" in exhibit.x_label, "no unit"
            assert "(" in exhibit.y_label, "no unit"


def test_the_label_alone_in_front_has_one_table_and_one_matrix(evaluated) -> None:
    names = [exhibit.name for exhibit in evaluated(label="first", bayes_images=5)[2].exhibits]
    assert names == [
        "samples",
        "classes",
        "inpainting",
        "inpainting_ways",
        "nats",
        "classification",
        "confusion_first",
        "compression",
        "speed",
        "step_time",
    ]
    assert "classes" not in [exhibit.name for exhibit in evaluated(label="last")[2].exhibits]


def test_the_classification_table_says_over_how_many_images(evaluated) -> None:
    _, _, evaluation = evaluated(bayes_images=5)
    table = _tables(evaluation)["classification"]
    assert [row[-1] for row in table.rows] == ["24", "5"]
    assert f"{evaluation.metrics['disagreement_nats']:.2f} nats" in table.note


def test_counted_models_stand_beside_ours_on_the_same_images(evaluated) -> None:
    """Independent pixels, counted by numpy: p = (ones + 1) / (images + 2), and given the label too."""
    built, _, evaluation = evaluated(label="first", bayes_images=5)
    (x, y), (test, _) = built.split("train"), built.split("test")
    bits, labels, test = x.numpy().reshape(50, 64), y.numpy(), test[:5].numpy().reshape(5, 64)

    def log_p(members: np.ndarray) -> np.ndarray:
        p = (members.sum(0) + 1) / (len(members) + 2)
        return (test * np.log(p) + (1 - test) * np.log(1 - p)).sum(1)

    classes = np.stack([log_p(bits[labels == c]) + np.log((labels == c).mean()) for c in range(3)], axis=1)
    rows = _tables(evaluation)["nats"].rows
    assert rows[0][1].startswith(f"{evaluation.metrics['nll_nats_per_image']:.2f}")
    assert rows[0][3] == "this run: test split, 5 images"
    assert float(rows[1][1]) == pytest.approx(-log_p(bits).mean(), abs=0.006)
    assert float(rows[2][1]) == pytest.approx(-_logsumexp(classes).mean(), abs=0.006)


def test_published_figures_stand_beside_fixed_bits_of_mnist_alone(task, awake) -> None:
    """Neither beside other images nor beside a threshold's bits, whose entropy is lower."""
    for binarise, name in (("dynamic", "fixed-v1"), ("fixed", "fixed-v1"), ("threshold", "threshold")):
        built = task(binarise=binarise, label="none")
        evaluation = built.evaluate(awake(built.build_model()), "test", device=CPU)
        table = _tables(evaluation)["nats"]
        assert {row[2] for row in table.rows} == {name}
        assert not {row[0] for row in table.rows} & {known[0] for known in KNOWN_NATS}
        assert "of other data, or of other bits" in table.note


def test_in_painting_keeps_the_upper_half_and_draws_the_lower(evaluated) -> None:
    """One column a class: the image, what is given of it, five draws."""
    built, _, evaluation = evaluated()
    grid = _tables(evaluation)["inpainting"]
    assert grid.columns == 3
    assert grid.row_labels == ("image", "given", "draw 1", "draw 2", "draw 3", "draw 4", "draw 5")
    rows = grid.images.reshape(7, 3, 8, 8)
    x, y = built.split("test")
    first = [int((y == label).nonzero()[0]) for label in range(3)]
    assert (rows[0] == x[first].numpy()).all()
    assert (rows[:, :, :4] == rows[0, :, :4]).all()
    assert len({draw.tobytes() for draw in rows[2:, 0]}) == 5
    assert (rows[1, :, 4:] == rows[1, 0, 4, 0]).all()
    assert set(np.unique(rows[2:])) == {0.0, 1.0}


def test_every_way_of_in_painting_stands_beside_the_others(evaluated) -> None:
    """None is exact where the right half is given in raster order; all keep it, and the clamp says so."""
    grid = _tables(evaluated()[2])["inpainting_ways"]
    assert grid.row_labels == ("image", "given", "particles 1", "particles 2", "clamp 1", "clamp 2")
    assert "Particles is approximate: 32 particles, smallest effective sample size" in grid.note
    assert "Clamp is biased" in grid.note
    rows = grid.images.reshape(6, 3, 8, 8)
    assert (rows[:, :, :, 4:] == rows[0, :, :, 4:]).all()
    assert (rows[2] != rows[4]).any()


def test_the_coded_bits_are_those_of_the_images_themselves(evaluated) -> None:
    """Of all 24 test images, at most 32 bits of the last word above the density's own."""
    built, model, evaluation = evaluated(label="last")
    x, _ = built.split("test")
    with torch.no_grad():
        bits = -model.log_prob(x).double().sum().item() / np.log(2)
    table = _tables(evaluation)["compression"]
    assert "24 images, which came back bit for bit" in table.note
    assert float(table.rows[0][1]) == pytest.approx(bits / 24, abs=0.01)
    assert bits <= 24 * evaluation.metrics["coded_bits_per_image"] <= bits + 64


def test_without_the_coder_the_report_says_what_it_needs(evaluated, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    evaluation = evaluated()[2]
    assert "pip install 'linsight[compress]'" in _tables(evaluation)["compression"].note
    assert "coded_bits_per_image" not in evaluation.metrics


def test_only_the_first_images_are_measured_where_one_says_so(evaluated) -> None:
    built, model, evaluation = evaluated(label="none", evaluate_images=7)
    x, _ = built.split("test")
    with torch.no_grad():
        nats = -model.log_prob(x[:7]).double().mean().item()
    assert evaluation.metrics["nll_nats_per_image"] == pytest.approx(nats, rel=1e-6)
    assert _tables(evaluation)["nats"].rows[0][3] == "this run: test split, 7 images"


def test_a_split_of_fewer_images_than_are_shown_is_shown_whole(evaluated) -> None:
    """Ten in-paintings are shown without labels; nine images are all there are."""
    built, _, evaluation = evaluated("valid", label="none")
    assert len(built.split("valid")[0]) == 10
    assert _tables(evaluation)["inpainting"].columns == 10


def test_progress_is_told_of_all_long_work(task, awake) -> None:
    built = task(bayes_images=5)
    told: list[tuple[str, int, int]] = []
    built.evaluate(awake(built.build_model()), "test", device=CPU, progress=lambda *args: told.append(args))
    assert told[-1] == ("sampling speed", 3, 3)
    by_name = {what: (done, total) for what, done, total in told}
    assert all(done == total for done, total in by_name.values()), by_name
    assert ("test images, label last", 24, 24) in told
    assert ("test images, label first", 5, 5) in told
