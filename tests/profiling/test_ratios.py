"""Lines of the kernels' table: what is wrong or missing has no numbers, what is measured has its error."""

import sys
import types

import pytest
import torch

from linsight.profiling import (
    PRODUCT,
    Calls,
    Case,
    Speedup,
    Unmeasured,
    imported,
    measure_ratio,
    measure_ratios,
    peaks,
)
from linsight.profiling.peers import FUNCTIONS
from linsight.profiling.ratios import largest_error

LINE = Speedup("op", "forward", "another", 2.0, 1.0)
ONE = torch.ones(3)


def calls(scale: float = 1.0) -> Calls:
    return Calls(lambda: (ONE, scale * ONE), lambda: (ONE,), lambda: (ONE.double(), ONE.double()))


def refuse(error: Exception) -> Case:
    def make() -> Calls:
        raise error

    return Case(LINE, make)


def test_what_is_measured_has_times_and_the_largest_error_of_its_outputs() -> None:
    found = measure_ratio(Case(LINE, lambda: calls(1 + 2**-20)), seconds=0.0)
    assert found.error == pytest.approx(2**-20)
    assert found.ratio == found.other_ms / found.our_ms
    assert found.note == ""


@pytest.mark.parametrize("scale", [1 + 2e-5, float("nan")])
def test_what_is_wrong_has_no_speed(scale: float) -> None:
    found = measure_ratio(Case(LINE, lambda: calls(scale)), seconds=0.0)
    assert found.ratio is None
    assert found.note.startswith("its self-check is red: relative error ")


@pytest.mark.parametrize("error", [Unmeasured("turned off"), ImportError("a package is not installed")])
def test_what_cannot_be_made_says_why(error: Exception) -> None:
    found = measure_ratio(refuse(error))
    assert (found.ratio, found.missed, found.note) == (None, False, str(error))


def test_a_mistake_of_ours_is_not_hidden() -> None:
    with pytest.raises(KeyError):
        measure_ratio(refuse(KeyError("shape")))


def test_lines_come_in_order_and_are_counted() -> None:
    told = []
    cases = [Case(LINE, calls), refuse(Unmeasured("turned off"))]
    lines = measure_ratios(cases, seconds=0.0, progress=lambda *call: told.append(call))
    assert [line.note for line in lines] == ["", "turned off"]
    assert told == [("kernels", 1, 2), ("kernels", 2, 2)]


def test_a_ratio_below_its_gate_is_missed() -> None:
    assert Speedup("op", "", "", 2.0, 1.0, our_ms=2.0, other_ms=1.9).missed
    assert not Speedup("op", "", "", 2.0, 1.0, our_ms=2.0, other_ms=2.0).missed


def test_errors_are_those_of_all_numbers_together() -> None:
    exact = torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert largest_error([torch.tensor([3.0, 4.5])], [exact]) == pytest.approx(0.1)
    assert largest_error([torch.tensor([3, 4])], [torch.tensor([3, 4])]) == 0
    assert largest_error([exact, 1j * exact], [exact, 2j * exact]) == pytest.approx(0.5)


def test_every_peak_has_a_rate_and_a_unit() -> None:
    found = peaks(seconds=0.0)
    assert PRODUCT in found
    assert {peak.unit for peak in found.values()} == {"GFLOP/s", "GB/s", "G/s"}
    assert all(peak.rate > 0 for peak in found.values())


def test_a_package_that_is_missing_is_told_from_one_that_fails(monkeypatch) -> None:
    monkeypatch.setitem(FUNCTIONS, "a package", "no_such_package.part")
    with pytest.raises(ImportError, match=r"^a package is not installed$"):
        imported("a package")
    monkeypatch.setitem(sys.modules, "no_such_package", types.ModuleType("no_such_package"))
    with pytest.raises(ImportError, match=r"^a package does not import here: ModuleNotFoundError: .*part"):
        imported("a package")
