"""Tables and figures of costs, from costs that follow a law."""

import pytest

from linsight.profiling import Costs
from linsight.reports.costs import cost_exhibits

LENGTHS = (256, 512, 1024, 2048, 4096, 8192)


def costs(name, exponent, scale, *, steps=True, until=6):
    time = [scale * length**exponent if place < until else None for place, length in enumerate(LENGTHS)]
    size = [
        int(100 * length) if value is not None else None for length, value in zip(LENGTHS, time, strict=True)
    ]
    step = [0.1] * len(LENGTHS) if steps else [None] * len(LENGTHS)
    state = [640] * len(LENGTHS) if steps else [None] * len(LENGTHS)
    return Costs(name, LENGTHS, time, time, step, size, size, state)


def test_the_summary_has_exponents_and_crossings():
    found = [costs("softmax", 2, 1e-4), costs("linear", 1, 0.1, steps=False), costs("slow", 2, 1e-3)]
    table, *_ = cost_exhibits(found, missing={"peer": "it is not there"})
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["softmax"][:3] == ("2.00 ± 0.00", "2.00 ± 0.00", "1.00 ± 0.00")
    assert rows["softmax"][3] == "\N{EN DASH}"
    assert rows["linear"][0] == "1.00 ± 0.00"
    assert rows["linear"][3] == pytest.approx(1000, abs=1)  # 0.1 T = 1e-4 T^2
    assert rows["slow"][3] == "never"
    assert rows["softmax"][5] == 640
    assert rows["linear"][5] is None
    assert "peer was not measured: it is not there." in table.note


def test_what_was_not_measured_is_a_dash_and_no_point():
    found = [costs("softmax", 2, 1e-4, until=3), costs("linear", 1, 0.1)]
    exhibits = {exhibit.name: exhibit for exhibit in cost_exhibits(found, missing={})}
    assert exhibits["growth"].rows[0][1] == "\N{EN DASH}"  # one length from 1024 on
    assert exhibits["forward"].rows[0][4:] == ("\N{EN DASH}",) * 3
    x, y = exhibits["forward_time"].series["softmax"]
    assert (x, len(y)) == ([256, 512, 1024], 3)
    assert exhibits["forward_time"].log_x
    assert exhibits["forward_time"].log_y


def test_what_has_no_step_has_no_row_of_steps():
    exhibits = {
        e.name: e
        for e in cost_exhibits([costs("softmax", 2, 1), costs("both", 1, 1, steps=False)], missing={})
    }
    assert [row[0] for row in exhibits["step"].rows] == ["softmax"]
    assert list(exhibits["step_time"].series) == ["softmax"]
