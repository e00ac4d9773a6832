"""What a classifier's evaluation says: every number recomputed here, every exhibit with its reservations."""

import json

import numpy as np
import pytest
import torch

from linsight.data import classified
from linsight.tasks.exhibits import Grid, Heatmap, Table

DATA = ["smnist", "pmnist", "listops-128", "pathfinder-32-easy"]
CPU = torch.device("cpu")


def _exhibits(evaluation) -> dict:
    return {exhibit.name: exhibit for exhibit in evaluation.exhibits}


def _log_prob(built, model, count: int):
    batch = built.source.examples("test", np.arange(count), seed=0).batch()
    with torch.no_grad():
        return model(batch["x"], batch.get("lengths")).double().log_softmax(1), batch


@pytest.mark.parametrize("data", DATA)
def test_metrics_are_those_of_the_whole_split(task, awake, data: str) -> None:
    built = task(data)
    model = awake(built.build_model())
    count = 24 if "mnist" in data else 30
    metrics = built.evaluate(model, "test", device=CPU).metrics
    log_prob, batch = _log_prob(built, model, count)
    right = (log_prob.argmax(1) == batch["y"]).double().mean().item()
    assert metrics["accuracy"] == pytest.approx(right)
    assert metrics["accuracy_standard_error"] == pytest.approx((right * (1 - right) / count) ** 0.5)
    nll = -log_prob[torch.arange(count), batch["y"]].mean().item()
    assert metrics["nll_nats"] == pytest.approx(nll, rel=1e-5)
    assert 0 <= metrics["calibration_error"] <= 1
    chance = {"smnist": 1 / 3, "pmnist": 1 / 3, "listops-128": 0.1, "pathfinder-32-easy": 0.5}[data]
    assert metrics["chance_accuracy"] == pytest.approx(chance)


@pytest.mark.parametrize("data", DATA)
def test_every_exhibit_names_the_data_and_the_summary_says_what_was_done(task, awake, data: str) -> None:
    built = task(data)
    evaluation = built.evaluate(awake(built.build_model()), "test", device=CPU)
    assert evaluation.split == "test"
    for exhibit in evaluation.exhibits:
        assert built.source.name in exhibit.title, exhibit.name
    summary = _exhibits(evaluation)["classification"]
    cells = dict(zip(summary.columns, summary.rows[0], strict=True))
    assert cells["split"] == "test"
    assert cells["chance"] == f"{100 * built.source.chance:.1f} %"
    assert " ± " in cells["accuracy"]
    assert "causal" in summary.note
    if data == "listops-128":
        assert cells["tokens"].startswith("3")  # from the shortest to the longest
    else:
        patch = built.config.model.patch
        assert f"{patch} pixels a token" in summary.note
        assert cells["tokens"] == str(built.source.length // patch)


def test_one_pixel_a_token_is_said_to_be_the_published_setting(task, awake) -> None:
    built = task(model={"patch": 1, "max_length": 64, "causal": False})
    summary = _exhibits(built.evaluate(awake(built.build_model()), "test", device=CPU))["classification"]
    assert "One pixel a token, as in published figures, bidirectional." in summary.note


def test_our_permutation_is_named_beside_every_result_of_pmnist_and_nowhere_else(task, awake) -> None:
    for data in ("smnist", "pmnist"):
        built = task(data)
        exhibits = _exhibits(built.evaluate(awake(built.build_model()), "test", device=CPU))
        for name in ("classification", "confusion"):
            assert ("pmnist-v1" in exhibits[name].note) == (data == "pmnist")


@pytest.mark.parametrize("data", DATA)
def test_the_confusion_matrix_counts_every_example_once(task, awake, data: str) -> None:
    built = task(data)
    model = awake(built.build_model())
    heatmap = _exhibits(built.evaluate(model, "test", device=CPU))["confusion"]
    assert isinstance(heatmap, Heatmap)
    count = 24 if "mnist" in data else 30
    log_prob, batch = _log_prob(built, model, count)
    expected = np.zeros_like(heatmap.matrix)
    np.add.at(expected, (batch["y"].numpy(), log_prob.argmax(1).numpy()), 1)
    assert heatmap.matrix.tolist() == expected.tolist()
    assert heatmap.row_labels == heatmap.column_labels == built.source.classes


@pytest.mark.parametrize("data", ["smnist", "pmnist"])
def test_pictures_are_the_images_whatever_the_order_of_their_pixels(task, awake, folder, data: str) -> None:
    built = task(data)
    model = awake(built.build_model())
    exhibits = _exhibits(built.evaluate(model, "test", device=CPU))
    pixels, labels = classified("test", folder)
    log_prob, _ = _log_prob(built, model, 24)
    called = log_prob.argmax(1).numpy()
    first = exhibits["examples"]
    assert isinstance(first, Grid)
    np.testing.assert_allclose(first.images, pixels[:10] / 255, rtol=1e-6)
    assert first.column_labels == tuple(f"{labels[i]} > {called[i]}" for i in range(10))
    assert ("permuted" in first.note) == (data == "pmnist")
    mistakes = exhibits["mistakes"]
    wrong = sorted(
        np.flatnonzero(called != labels).tolist(), key=lambda i: log_prob[i].max().item(), reverse=True
    )
    assert mistakes.column_labels == tuple(f"{labels[i]} > {called[i]}" for i in wrong[:10])
    np.testing.assert_allclose(mistakes.images, pixels[wrong[:10]] / 255, rtol=1e-6)


def test_without_a_mistake_there_is_no_picture_of_one(task) -> None:
    """A head that reads the answer: the loss of one batch is driven to nothing first."""
    built = task()
    model = built.build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    batch = built.source.examples("test", np.arange(24), seed=0).batch()
    for _ in range(100):
        loss, _ = built.loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    evaluation = built.evaluate(model, "test", device=CPU)
    assert evaluation.metrics["accuracy"] == 1
    assert "mistakes" not in _exhibits(evaluation)


def test_listops_are_shown_by_length_and_as_text(task, awake) -> None:
    built = task("listops-128")
    model = awake(built.build_model())
    evaluation = built.evaluate(model, "test", device=CPU)
    exhibits = _exhibits(evaluation)
    by_length = exhibits["length"]
    assert isinstance(by_length, Table)
    counts = [int(row[1]) for row in by_length.rows]
    assert sum(counts) == 30
    shares = [float(row[2].split(" ")[0]) / 100 for row in by_length.rows]
    right = sum(share * count for share, count in zip(shares, counts, strict=True))
    assert right / 30 == pytest.approx(evaluation.metrics["accuracy"], abs=1e-3)
    log_prob, batch = _log_prob(built, model, 30)
    rows = exhibits["examples"].rows
    assert [row[1] for row in rows] == batch["y"][:10].tolist()
    assert [row[2] for row in rows] == log_prob[:10].argmax(1).tolist()
    assert all(row[0].startswith("[") and len(row[0]) <= 204 for row in rows)


def test_progress_reaches_the_end_and_the_split_is_a_choice(task, awake) -> None:
    built = task("listops-128", test_examples=150)
    seen = []
    evaluation = built.evaluate(
        awake(built.build_model()), "valid", device=CPU, progress=lambda *call: seen.append(call)
    )
    assert seen == [("valid examples", 100, 150), ("valid examples", 150, 150)]
    assert evaluation.split == "valid"
    assert json.dumps(evaluation.metrics)
