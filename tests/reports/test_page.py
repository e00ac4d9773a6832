"""The page: one file, nothing loaded from elsewhere, everything that was given on it."""

import re
from dataclasses import dataclass
from html.parser import HTMLParser

from linsight.reports.page import Picture, flatten, render
from linsight.tasks.exhibits import Table

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8) + (800).to_bytes(4, "big") + (400).to_bytes(4, "big")


def page(**changes) -> str:
    given = {
        "title": "generate: mnist",
        "subtitle": "test split",
        "metrics": {"nll_nats_per_image": 82.913, "accuracy": 0.974},
        "curves": [Picture("loss", "", PNG)],
        "exhibits": [Picture("Samples", "none left out", PNG, is_grid=True)],
        "configuration": {"training.steps": "100"},
        "environment": {"torch": "2.13"},
        "command": "linsight train generate",
    }
    return render(**(given | changes))


class Tags(HTMLParser):
    """Collects the tags, and checks that they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "link", "br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_self_contained() -> None:
    text = page()
    tags = Tags(text)
    assert tags.open == []
    names = {name for name, _ in tags.seen}
    assert not names & {"script", "link", "iframe", "object", "a"}
    assert all((attributes.get("src") or "data:").startswith("data:") for _, attributes in tags.seen)
    assert not re.search(r"https?://|url\(|@import", text)


def test_everything_given_is_on_it() -> None:
    table = Table(
        "t", "Nats", ("model", "nats"), (("ours", 82.913), ("other", None)), note="Lower is better."
    )
    text = page(exhibits=[table])
    for words in (
        "generate: mnist",
        "82.91",
        "nats per image",
        "0.974",
        "training.steps",
        "2.13",
        "Lower is better.",
    ):
        assert words in text
    assert "linsight train generate" in text


def test_text_is_escaped() -> None:
    text = page(title="<b>&", exhibits=[Table("t", "p(x|y) < 1", ("a",), (("<i>",),))])
    assert "<b>" not in text
    assert "<i>" not in text
    assert "&lt;b&gt;&amp;" in text


def test_numbers_stand_right_and_words_left() -> None:
    rows = (("a", 1, "82.9 ± 0.1", "12 %"), ("b", None, "7", "1.5 / 2"), ("c", 3, "", "1 %"))
    text = page(exhibits=[Table("t", "T", ("name", "count", "nats", "share"), rows)])
    classes = re.findall(r"<th( class=\"number\")?>(\w+)</th>", text)
    assert [(bool(marked), name) for marked, name in classes] == [
        (False, "name"),
        (True, "count"),
        (True, "nats"),
        (True, "share"),
    ]


def test_more_than_six_metrics_go_on_in_a_table() -> None:
    text = page(metrics={f"metric_{index}": float(index) for index in range(8)})
    head, _, rest = text.partition("All other numbers")
    assert "metric 5" in head
    assert "metric 6" not in head
    assert "metric 6" in rest


def test_a_picture_is_shown_at_the_width_it_was_drawn_for() -> None:
    assert Picture("a", "", PNG).width == 500
    assert Picture("a", "", PNG, is_grid=True).width == 400


def test_a_configuration_is_flattened_in_its_order() -> None:
    @dataclass(frozen=True)
    class Mixer:
        kind: str
        heads: int | None = None

    @dataclass(frozen=True)
    class Model:
        mixers: tuple[Mixer, ...]
        patch: tuple[int, int]

    assert flatten(Model((Mixer("linear", 4), Mixer("softmax")), (2, 4))) == {
        "mixers.0.kind": "linear",
        "mixers.0.heads": "4",
        "mixers.1.kind": "softmax",
        "mixers.1.heads": "none",
        "patch": "(2, 4)",
    }
