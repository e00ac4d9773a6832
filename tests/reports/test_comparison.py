"""The report of a comparison: best first, failures told, quality against every cost."""

from dataclasses import replace

import pytest

from linsight.reports.comparison import comparison_exhibits
from linsight.training.comparison import Result


def result(name, mixer, quality, state, **changes):
    options = {"parameters": 100, "steps": 10, "step_bytes": 2**20, "seconds": 5.0, **changes}
    return Result(
        name,
        mixer,
        options.pop("dim", 0),
        state_bytes=state,
        metrics={"accuracy": quality},
        history={"valid/accuracy": ([1], [0.1])},
        **options,
    )


FOUND = [
    result("a-1", "a", 0.2, 64, dim=1),
    result("a-2", "a", 0.6, 128, dim=2),
    result("b-1", "b", 0.9, 0, dim=1),
    Result("c-1", "c", 1, parameters=7, state_bytes=8, steps=9, error="ValueError: nothing"),
]


def test_members_stand_best_first_and_failures_last():
    table, *_ = comparison_exhibits(FOUND, headline="accuracy", falls=False, budget="All alike.")
    assert [row[0] for row in table.rows] == ["b-1", "a-2", "a-1", "c-1"]
    assert table.rows[0][1:] == ("0.9", 100, 0, 10, "5", "1.0")
    assert table.rows[3][1] == "failed"
    assert table.note.startswith("Test split. All alike.")
    assert "c-1 failed: ValueError: nothing." in table.note
    table, *_ = comparison_exhibits(FOUND, headline="accuracy", falls=True, budget="")
    assert [row[0] for row in table.rows][:3] == ["a-1", "a-2", "b-1"]


def test_a_figure_has_one_line_a_mixer_in_the_order_of_the_cost():
    exhibits = {e.name: e for e in comparison_exhibits(FOUND, headline="accuracy", falls=False, budget="")}
    series = exhibits["quality_by_state"].series
    assert series == {"a": ([64.0, 128.0], [0.2, 0.6])}  # no state at all has no place on a logarithmic axis
    assert set(exhibits["quality_by_seconds"].series) == {"a", "b"}
    assert set(exhibits["valid_accuracy"].series) == {"a-1", "a-2", "b-1"}


def test_seeds_of_a_member_are_one_row_of_means_with_students_interval():
    """t of 3 values is 4.303: 0.5 ± 4.303 * 0.1 / sqrt(3); one that failed is told, and leaves its others."""
    seeds = [
        result("a", "a", 0.4, 0, seed=0, seconds=4.0),
        Result("b", "b", 0, parameters=7, state_bytes=0, steps=9, error="ValueError: nothing"),
        result("a-seed1", "a", 0.5, 0, seed=1, seconds=8.0),
        result("a-seed2", "a", 0.6, 0, seed=2, seconds=9.0),
        result("b-seed1", "b", 0.7, 0, seed=1),
        Result("c", "c", 0, parameters=7, state_bytes=0, steps=9, error="ValueError: no"),
    ]
    exhibits = comparison_exhibits(
        seeds, headline="accuracy", falls=False, budget="", beside=("accuracy", "other")
    )
    table, *figures = exhibits
    assert table.columns[:4] == ("", "accuracy", "seeds", "parameters")
    assert table.columns[-1] == "accuracy"
    assert [row[:3] for row in table.rows] == [("b", "0.7", 1), ("a", "0.5 ± 0.25", 3), ("c", "failed", 0)]
    assert table.rows[1][5] == "7"
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert "95 % interval" in table.note
    assert "b failed: ValueError: nothing. c failed: ValueError: no." in table.note
    by_name = {one.name: one for one in figures}
    assert by_name["quality_by_seconds"].series["a"] == ([7.0], [0.5])
    assert by_name["valid_accuracy"].series == {"a": ([1], [pytest.approx(0.1)]), "b": ([1], [0.1])}


def test_what_seeds_agree_in_or_have_not_is_told_as_it_is():
    """A count needs no interval, and a density that a head has not leaves no trace."""
    seeds = [
        replace(
            result("a", "a", value, 0, seed=seed), metrics={"accuracy": value, "weights": 84320.0} | density
        )
        for seed, (value, density) in enumerate([(0.4, {"nats": 1.0}), (0.6, {})])
    ]
    table, *_ = comparison_exhibits(
        seeds, headline="accuracy", falls=False, budget="", beside=("weights", "nats")
    )
    assert table.columns[-2:] == ("weights", "nats")
    assert table.rows[0][-2:] == ("84,320", "")


def test_without_seeds_there_is_no_column_of_them_and_no_interval():
    table, *_ = comparison_exhibits(FOUND, headline="accuracy", falls=False, budget="")
    assert "seeds" not in table.columns
    assert "±" not in str(table)


def test_a_comparison_of_which_all_failed_is_still_a_table():
    (table,) = comparison_exhibits(FOUND[3:], headline="accuracy", falls=False, budget="")
    assert [row[0] for row in table.rows] == ["c-1"]


def test_models_without_a_state_have_no_column_of_it():
    found = [result("a", "a", 0.5, 0), result("b", "b", 0.7, 0)]
    table, *_ = comparison_exhibits(found, headline="accuracy", falls=False, budget="All alike.")
    assert "state (bytes)" not in table.columns
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert table.note == "Test split. All alike."
