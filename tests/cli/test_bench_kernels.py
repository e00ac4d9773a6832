"""`linsight bench kernels`: every line, what is refused, and the exit code that tells."""

import json
from functools import partial

import pytest

from linsight import kernels, profiling
from linsight.cli.main import main
from linsight.profiling import Case, Speedup
from linsight.profiling import kernels as measuring
from linsight.profiling import ratios as timing
from linsight.profiling.peaks import PRODUCT, Peak
from linsight.tasks.generate import decoding, training_step

pytestmark = pytest.mark.skipif(not kernels.cpu.levels(), reason=f"no library: {kernels.cpu.why_not()}")


def use(monkeypatch, *, gate: float) -> None:
    """One small case and a peer that is missing; the real ones take minutes."""

    def make():
        call, inputs = measuring.SMALL["linear_attention"]()
        ours, loop = (partial(call, form=form) for form in ("compiled", "naive"))
        return measuring._calls(measuring.forward, ours, loop, loop, inputs)

    def missing():
        raise ImportError("a peer is not installed")

    def cases():
        for other, calls in (("a loop", make), ("a peer", missing)):
            line = Speedup("linear_attention", "forward", other, 2.0, gate)
            yield Case(line, partial(measuring._checked, "linear_attention", calls))

    monkeypatch.setattr(profiling, "kernel_cases", cases)
    monkeypatch.setattr(profiling, "peaks", lambda: {PRODUCT: Peak(80.0, "GFLOP/s")})
    for module, name in (
        (profiling, "training_cases"),
        (training_step, "model_cases"),
        (decoding, "decode_cases"),
    ):
        monkeypatch.setattr(module, name, lambda: iter(()))


def test_a_line_has_times_ratio_gate_and_error_and_a_missing_peer_is_told(monkeypatch, capsys):
    use(monkeypatch, gate=0.0)
    assert main(["bench", "kernels", "--seconds", "0.001", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    measured, missing = found["lines"]
    assert measured["ratio"] == pytest.approx(measured["other_ms"] / measured["our_ms"])
    assert measured["error"] < 1e-6
    assert missing["ratio"] is None
    assert missing["note"] == "a peer is not installed"
    assert found["peaks"] == {PRODUCT: {"rate": 80.0, "unit": "GFLOP/s"}}


def test_the_peaks_stand_above_the_lines(monkeypatch, capsys):
    use(monkeypatch, gate=0.0)
    assert main(["bench", "kernels", "--seconds", "0.001"]) == 0
    peaks, lines = capsys.readouterr().out.split("\n\n")
    assert peaks.splitlines()[1].split() == [*PRODUCT.split(), "80", "GFLOP/s"]
    assert f"level {kernels.cpu.level()}" in peaks.lower()
    assert lines.splitlines()[1].split()[:4] == ["linear_attention", "forward", "a", "loop"]


def test_a_ratio_below_its_gate_fails(monkeypatch, capsys):
    use(monkeypatch, gate=1e9)
    assert main(["bench", "kernels", "--seconds", "0.001"]) == 1
    assert "below its gate" in capsys.readouterr().out


def test_an_op_that_is_wrong_is_not_measured(monkeypatch, capsys):
    use(monkeypatch, gate=0.0)
    monkeypatch.setattr(timing, "measure", lambda *_, **__: pytest.fail("measured"))
    right = kernels.cpu.linear_attention

    def wrong(*args, **options):
        o, state = right(*args, **options)
        return o * 1.001, state

    monkeypatch.setattr(kernels.cpu, "linear_attention", wrong)
    assert main(["bench", "kernels", "--seconds", "0.001"]) == 1
    assert "its self-check is red: relative error 1e-03" in capsys.readouterr().out


def test_without_kernels_every_line_says_so(monkeypatch, capsys):
    use(monkeypatch, gate=0.0)
    with kernels.cpu.at_level("off"):
        assert main(["bench", "kernels", "--seconds", "0.001"]) == 0
    assert capsys.readouterr().out.count("turned off") == 2


def test_no_time_is_the_users_mistake(capsys):
    assert main(["bench", "kernels", "--seconds", "0"]) == 2
    assert "--seconds: expected a number above 0, got 0.0" in capsys.readouterr().err
