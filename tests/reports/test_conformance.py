"""The page of the conformance kit: every verdict on it, breaches explained, nothing loaded from elsewhere."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from linsight.conformance import LAWS, Evidence, Report, Verdict
from linsight.reports.conformance import render, write

WORST = Evidence("y <b>after</b> 3", (0, 3, 1), 1.5, 2.5, 0.25, 1e-10)


def report(subject: str, **outcomes: str) -> Report:
    """A report with a verdict of its own for every law."""
    return Report(
        subject,
        tuple(
            Verdict(law.replace("_", "-"), outcome, f"{law} of {subject}: {WORST}", 17, 0.25, WORST)
            for law, outcome in outcomes.items()
        ),
    )


ONE = report("<i>one</i>", split="kept", decode="broken", state_size="inapplicable", cost_growth="measured")
TWO = report("two", split="kept", decode="unpromised", state_size="broken", cost_growth="measured")


def page(*reports: Report) -> str:
    return render(
        reports,
        replay=lambda found, verdict: f"replay '{found.subject}' {verdict.law}",
        command="linsight check <b>",
        environment={"torch": "2.13 & more"},
        date="2026-01-01",
    )


class Page(HTMLParser):
    """The page as a reader has it: the text that is shown, tables as rows of cells, and every tag."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.text += " "

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data


def test_the_page_is_whole_and_self_contained() -> None:
    source = page(ONE, TWO)
    read = Page(source)
    assert read.open == []
    assert not {name for name, _ in read.tags} & {"script", "link", "iframe", "object", "img"}
    assert not re.search(r"https?://|url\(|@import|src=", source)
    named = {attributes["id"] for _, attributes in read.tags if "id" in attributes}
    links = {attributes["href"] for name, attributes in read.tags if name == "a"}
    assert links
    assert links <= {f"#{name}" for name in named}


def test_every_verdict_is_in_the_matrix_in_signs_and_words() -> None:
    matrix = Page(page(ONE, TWO)).tables[0]
    assert matrix == [
        ["law", "<i>one</i>", "two"],
        ["split", "✓kept", "✓kept"],
        ["decode", "✗broken", "(✗)unpromised"],
        ["state-size", "·inapplicable", "✗broken"],
        ["cost-growth", "≈measured", "≈measured"],
    ]


def test_every_verdict_is_listed_with_its_detail() -> None:
    for subject, table in zip((ONE, TWO), Page(page(ONE, TWO)).tables[1:], strict=True):
        rows = [[law, outcome.split()[-1], detail, seconds] for law, outcome, detail, seconds in table[1:]]
        assert rows == [[found.law, found.outcome, found.detail, "0.25"] for found in subject.verdicts]


def test_the_counts_are_those_of_the_verdicts() -> None:
    reports = (ONE, TWO, report("three", split="kept", decode="kept", state_size="kept", cost_growth="kept"))
    source = page(*reports)
    headlines = dict(re.findall(r"<dt>(\w+)</dt><dd class=\"\w+\">(\d+)</dd>", source))
    counts = Counter(found.outcome for each in reports for found in each.verdicts)
    assert headlines == {outcome: str(number) for outcome, number in counts.items()}
    assert "two 1 kept, 1 broken, 1 unpromised, 1 measured; 1.0 s" in " ".join(Page(source).text.split())


def test_breaches_are_explained_and_replayed_promised_ones_first() -> None:
    text = " ".join(Page(page(ONE, TWO)).text.split())
    broken = text.partition("What is broken")[2].partition("Every verdict")[0]
    for subject, laws in ((ONE, ["decode"]), (TWO, ["state-size", "decode"])):
        _, _, told = broken.partition(f" {subject.subject} ")
        for law in laws:
            detail = next(found.detail for found in subject.verdicts if found.law == law)
            expected = (
                f"found {detail} the law {LAWS[law].statement} the cost {LAWS[law].breach} "
                f"replay replay '{subject.subject}' {law}"
            )
            before, found, told = told.partition(expected)
            assert found, f"{law} of {subject.subject}"
            assert "found" not in before
    assert broken.count(" replay replay ") == 3


def test_nothing_broken_is_said_so() -> None:
    text = Page(page(report("fine", split="kept", decode="inapplicable"))).text
    assert "Nothing: every law that says something of a subject is kept by it." in text


def test_a_single_subject_needs_no_matrix() -> None:
    read = Page(page(TWO))
    assert "Conformance: two" in read.text
    assert [len(table) for table in read.tables] == [1 + len(TWO.verdicts)]
    assert ("details", {"open": None}) in read.tags


def test_every_law_tried_is_told_in_full() -> None:
    text = " ".join(Page(page(ONE)).text.split())
    laws = text.partition("The laws")[2]
    for found in ONE.verdicts:
        law = LAWS[found.law]
        assert (
            f"{law.name} statement {law.statement} reason {law.reason} a breach {law.breach} "
            f"inputs {law.inputs} tolerance {law.tolerance}"
        ) in laws
    assert " prefix statement " not in laws


def test_text_is_escaped() -> None:
    source = page(ONE, TWO)
    assert "<b>" not in source
    assert "<i>" not in source
    for words in ("&lt;i&gt;one&lt;/i&gt;", "linsight check &lt;b&gt;", "2.13 &amp; more"):
        assert words in source


def test_subjects_with_other_laws_do_not_fit_one_page() -> None:
    with pytest.raises(ValueError, match="shorter"):
        page(ONE, report("two", split="kept"))


def test_the_file_has_the_environment_and_the_command(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write(path, [ONE], replay=lambda *_: "again", command="linsight check --all")
    text = " ".join(Page(path.read_text(encoding="utf-8")).text.split())
    assert "Reproduce linsight check --all" in text
    assert "linsight 0." in text.partition("Environment")[2]
