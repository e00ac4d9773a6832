"""The report of a comparison: best first, failures told, quality against every cost."""

from linsight.reports.comparison import comparison_exhibits
from linsight.training.comparison import Result


def result(name, mixer, quality, state, **changes):
    options = {"parameters": 100, "steps": 10, "step_bytes": 2**20, "seconds": 5.0, **changes}
    return Result(
        name,
        mixer,
        0,
        state_bytes=state,
        metrics={"accuracy": quality},
        history={"valid/accuracy": ([1], [0.1])},
        **options,
    )


FOUND = [
    result("a-1", "a", 0.2, 64),
    result("a-2", "a", 0.6, 128),
    result("b-1", "b", 0.9, 0),
    Result("c-1", "c", 0, parameters=7, state_bytes=8, steps=9, error="ValueError: nothing"),
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


def test_a_comparison_of_which_all_failed_is_still_a_table():
    (table,) = comparison_exhibits(FOUND[3:], headline="accuracy", falls=False, budget="")
    assert [row[0] for row in table.rows] == ["c-1"]


def test_models_without_a_state_have_no_column_of_it():
    found = [result("a", "a", 0.5, 0), result("b", "b", 0.7, 0)]
    table, *_ = comparison_exhibits(found, headline="accuracy", falls=False, budget="All alike.")
    assert "state (bytes)" not in table.columns
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert table.note == "Test split. All alike."
