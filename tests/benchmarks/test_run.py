"""The benchmark command: no speed without passing tests, errors beside times, an exit code that tells."""

import pytest
import torch

from benchmarks import run
from benchmarks.case import Case, Limit, Table
from benchmarks.cases import average_precision, linear_attention, renderers, scan, upsampling
from benchmarks.machine import machine
from linsight import kernels
from linsight.profiling import PRODUCT, Peak
from linsight.profiling import clock as measuring

SHAPE = (1, 16, 2, 8)


def use(monkeypatch, *, bar: float, red: bool = False) -> None:
    """A registry of one small case, whose tests pass or not."""

    def tables():
        yield linear_attention.table(SHAPE, torch.float32, backward=False, bars={"chunk": bar})

    monkeypatch.setattr(run, "CASES", {"small": Case("a small case", ("tests",), tables)})
    monkeypatch.setattr(run, "_pass", lambda tests: not red)
    monkeypatch.setattr(run, "peaks", lambda: {PRODUCT: Peak(100.0, "GFLOP/s")})


def test_a_table_has_the_machine_every_candidate_and_its_error(monkeypatch, capsys):
    use(monkeypatch, bar=0.0)
    assert run.main(["--seconds", "0"]) == 0
    printed = capsys.readouterr().out
    assert str(machine())[:20] in printed
    assert f"torch {torch.__version__}, threads 1, allocator" in printed
    assert "forward, B=1 T=16 H=2 K=V=8, float32" in printed
    rows = {line.split("|")[1].strip(): line for line in printed.splitlines() if line.startswith("| ")}
    last = "compiled" if kernels.cpu.levels() else "auto"
    assert rows.keys() >= {"softmax", "chunk", "parallel", last}
    assert "0x reached" in rows["chunk"]
    assert all(float(rows[name].split("|")[-2]) < 1e-6 for name in ("softmax", "chunk", last))


def test_a_missed_bar_is_said_and_fails(monkeypatch, capsys):
    use(monkeypatch, bar=1e9)
    assert run.main(["small", "--seconds", "0"]) == 1
    assert "1e+09x missed" in capsys.readouterr().out


@pytest.mark.parametrize(("most", "code", "verdict"), [(3.0, 0, "reached"), (2.9, 1, "missed")])
def test_a_limit_is_said_and_kept(monkeypatch, capsys, most, code, verdict):
    use(monkeypatch, bar=0.0)
    limited = Case("limited", (), lambda: iter(()), lambda: iter([Limit("a thing", 3.0, "MB", most)]))
    monkeypatch.setattr(run, "CASES", {"limited": limited})
    assert run.main(["--seconds", "0"]) == code
    assert f"a thing: 3 MB, at most {most:.3g}: {verdict}" in capsys.readouterr().out


def test_nothing_is_measured_while_tests_fail(monkeypatch, capsys):
    use(monkeypatch, bar=0.0, red=True)
    monkeypatch.setattr(run, "measure", lambda *args, **kwargs: pytest.fail("measured"))
    assert run.main([]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "nothing measured: these tests fail: python -m pytest tests" in shown.err


@pytest.mark.parametrize(("assertion", "passes"), [("True", True), ("False", False)])
def test_red_and_green_are_told_apart_by_running_the_tests(tmp_path, assertion, passes):
    path = tmp_path / "test_it.py"
    path.write_text(f"def test_it():\n    assert {assertion}\n")
    assert run._pass([str(path)]) is passes


def test_a_misspelt_case_is_the_users_mistake(capsys):
    with pytest.raises(SystemExit, match="2"):
        run.main(["linear_atention"])
    assert "case 'linear_atention' is not known; choose from linear_attention" in capsys.readouterr().err


def test_results_are_saved_under_hardware_and_date(monkeypatch, tmp_path):
    use(monkeypatch, bar=0.0)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    assert run.main(["--seconds", "0", "--save"]) == 0
    (path,) = (tmp_path / "results").iterdir()
    assert path.name.startswith(machine().slug)
    assert "times faster" in path.read_text()


def test_candidates_take_turns(monkeypatch):
    """Two calls each to warm up, then round after round."""
    called = []
    monkeypatch.setattr(measuring.torch, "set_num_threads", lambda n: called.append(n))
    calls = {name: lambda name=name: called.append(name) for name in "ab"}
    timings = measuring.measure(calls, seconds=0, least=3)
    assert called == [1, "a", "a", "b", "b", *3 * ["a", "b"]]
    assert all(t.repeats == 3 and 0 <= t.minimum <= t.median for t in timings.values())


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
def test_every_candidate_computes_what_its_definition_says(normalise, backward):
    table = linear_attention.table(SHAPE, torch.float64, backward=backward, normalise=normalise)
    assert isinstance(table, Table)
    for candidate in table.candidates.values():
        assert candidate.error() < 1e-12
        assert candidate.flops > 0


@pytest.mark.parametrize("backward", [False, True])
def test_scans_compute_what_their_definition_says(backward):
    for table in scan.table((2, 9, 4, 3), backward=backward, bars={"naive": 1.0, scan.PEER: 1.0}):
        for candidate in table.candidates.values():
            assert candidate.error() < 1e-6
            assert candidate.flops > 0


def test_upsamplers_compute_what_their_definition_says():
    table = upsampling.table((2, 8, 5, 6), "resize_conv", ("carafe", "dysample", "deconv4"), {"carafe": 0.5})
    for candidate in table.candidates.values():
        assert candidate.error() < 1e-5
        assert candidate.flops > 0
    # 3 x 3 weights at each of the 10 x 12 pixels of the fine grid; 4 x 4 ones at the 5 x 6 of the coarse one.
    assert table.candidates["resize_conv"].flops == 3 * 2 * 2 * 120 * 8 * 8 * 9
    assert table.candidates["deconv4"].flops == 3 * 2 * 2 * 30 * 8 * 8 * 16


def test_files_of_detections_have_the_numbers_of_the_others():
    for table in average_precision.reading(images=4):
        assert all(candidate.error() < 1e-12 for candidate in table.candidates.values())


def test_the_peak_is_of_the_command_and_not_of_who_starts_it():
    """Python, NumPy and tyro take some 50 MB; this process, which has torch, several times that."""
    (limit,) = average_precision.command(images=4)
    assert 20 < limit.value < 120
    assert (limit.unit, limit.most) == ("MB", 500)
    assert "400 boxes" in limit.title


def test_renderers_have_the_bars_of_one_core():
    """500 eyes and 150 bodies a second on two cores, in milliseconds of one."""
    eye, body = renderers.pictures(repeats=1)
    assert (eye.most, round(body.most, 2), eye.unit, body.unit) == (4.0, 13.33, "ms", "ms")
    assert min(eye.value, body.value) > 0
    assert "eye of 36 x 60 pixels" in eye.title
    assert "body of 64 x 48 pixels" in body.title
