"""The page of the scorecard, from reports made by hand."""

import pytest

from linsight.conformance import LAWS, Report, Verdict
from tools.scorecard.page import Checked, Library, page

BROKEN = Verdict("causality", "broken", "outputs before 5: error 1.1, allowed 0", 3)
LAWFUL = Report(
    "good", (Verdict("causality", "kept", "exactly", 0), Verdict("cost-growth", "measured", "T^1.02", 0))
)
LEAKY = Report(
    "leaky",
    (
        BROKEN,
        Verdict("export", "unpromised", "RuntimeError: no (it is older)", 0),
        Verdict("split", "inapplicable", "it has no state", 0),
    ),
)

CAUSES = {"causality": "The mask is one off."}


@pytest.fixture
def text() -> str:
    checked = [Checked("first.py:good", LAWFUL), Checked("first.py:leaky", LEAKY)]
    libraries = [
        Library("first", "1.0", checked, CAUSES, note="All of it."),
        Library("second", "2.0", failure="ImportError: `cuda` is missing"),
    ]
    return page(libraries, LAWS, {"date": "2026-01-01"})


def test_the_page_begins_with_its_command_and_says_where_it_was_made(text):
    assert text.index("make scorecard") < text.index("| date | 2026-01-01 |") < text.index("## Summary")


def test_the_table_has_a_row_for_every_law_that_says_something(text):
    assert "| causality | ✓ | **✗** |\n" in text
    assert "| export |  | (✗) |\n" in text
    assert "| cost-growth | · |  |\n" in text
    assert "| split |" not in text.split("## first")[0]
    assert "1. good\n2. leaky\n" in text
    assert "## first 1.0\n\nAll of it.\n" in text


def test_a_breach_is_told_with_evidence_cause_cost_and_command(text):
    told = text.split("### 2. leaky")[1].split("##")[0]
    assert "1 broken, 1 broken and not promised, 1 say nothing" in told
    for words in (
        "`outputs before 5: error 1.1, allowed 0`",
        "The mask is one off.",
        LAWS["causality"].breach,
    ):
        assert words in told
    assert "`linsight check tools/scorecard/first.py:leaky --law causality --seed 3`" in told


def test_a_breach_that_was_not_promised_is_told_without_its_cost(text):
    told = text.split("**export**")[1].split("\n\n")[0]
    assert "not promised" in told
    assert "RuntimeError: no (it is older)" in told
    assert "costs" not in told


def test_a_library_that_does_not_run_is_named_with_the_exception(text):
    assert "* second: not checked, `` ImportError: `cuda` is missing ``\n" in text
    assert "## second 2.0\n\nNot checked: `` ImportError: `cuda` is missing ``\n" in text


def test_every_law_is_told_and_no_table_is_torn(text):
    for law in LAWS:
        assert f"\n| {law} | " in text.split("## The laws")[1]
    for block in text.split("\n\n"):
        rows = [line.replace("\\|", "") for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1, block
