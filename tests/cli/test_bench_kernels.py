"""`linsight bench kernels`: every line, what is refused, and the exit code that tells."""

import json
from functools import partial

import pytest
import torch

from linsight import kernels, profiling
from linsight.cli.main import main
from linsight.profiling import kernels as measuring
from linsight.profiling.kernels import KernelRatio
from linsight.tasks.generate import decoding

pytestmark = pytest.mark.skipif(not kernels.cpu.levels(), reason=f"no library: {kernels.cpu.why_not()}")


def use(monkeypatch, *, gate: float) -> None:
    """One small case and a peer that is missing; the real ones take a minute."""

    def cases():
        call, inputs = measuring.SMALL["linear_attention"]()
        kernel, other = (
            partial(measuring._forward, partial(call, form=form), *inputs) for form in ("compiled", "naive")
        )
        exact = partial(measuring._forward, partial(call, form="naive"), *(x.double() for x in inputs))
        yield KernelRatio("linear_attention", "forward", "a loop", 2.0, gate), kernel, other, exact
        yield KernelRatio("linear_attention", "forward", "a peer", 2.0, gate), kernel, None, exact

    monkeypatch.setattr(measuring, "CASES", {"linear_attention": cases})
    monkeypatch.setattr(decoding, "decode_cases", lambda: iter(()))


def test_every_compiled_op_is_checked_and_measured():
    compiled = {op for op, engines in kernels.OPS.items() if "compiled" in engines}
    assert compiled - {"decode"} == measuring.CASES.keys() == measuring.SMALL.keys()


@pytest.mark.parametrize("op", measuring.SMALL)
def test_compiled_ops_equal_their_definitions(op):
    assert profiling.self_check(op) < 2e-6


def test_a_decoding_step_is_measured_against_a_cache_and_eager():
    with torch.inference_mode():
        cases = decoding.decode_cases((1,))
        found = [profiling.measure_ratio(*case, reason=None, seconds=0.001) for case in cases]
    assert [row.other for row in found] == ["key-value cache", "eager step"]
    for row in found:
        assert row.ratio is not None
        assert row.error is not None
        assert row.error < 1e-6
        assert row.note == ""


def test_the_loop_over_tokens_computes_the_scan():
    call, inputs = measuring.SMALL["selective_scan"]()
    found = measuring._prepared_scan(*inputs[:5])
    assert measuring._error(found, call(*(x.double() for x in inputs[:5]), form="naive")) < 1e-6


def test_a_line_has_times_ratio_gate_and_error_and_a_missing_peer_is_told(monkeypatch, capsys):
    use(monkeypatch, gate=0.0)
    assert main(["bench", "kernels", "--seconds", "0.001", "--json"]) == 0
    measured, missing = json.loads(capsys.readouterr().out)
    assert measured["ratio"] == pytest.approx(measured["other_ms"] / measured["kernel_ms"])
    assert measured["error"] < 1e-6
    assert missing["ratio"] is None
    assert missing["note"] == "a peer is not installed"


def test_progress_counts_the_lines_that_there_are(monkeypatch):
    use(monkeypatch, gate=0.0)
    calls = []
    rows = list(profiling.kernel_ratios(seconds=0.001, progress=lambda *call: calls.append(call)))
    assert calls == [("kernels", 1, 2), ("kernels", 2, 2)]
    assert len(rows) == 2


def test_a_ratio_below_its_gate_fails(monkeypatch, capsys):
    use(monkeypatch, gate=1e9)
    assert main(["bench", "kernels", "--seconds", "0.001"]) == 1
    assert "below its gate" in capsys.readouterr().out


def test_an_op_that_is_wrong_is_not_measured(monkeypatch, capsys):
    use(monkeypatch, gate=0.0)
    monkeypatch.setattr(measuring, "measure", lambda *_, **__: pytest.fail("measured"))
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


def test_the_products_are_as_much_work_as_they_are_asked_for():
    """512^3 each, and a narrow one for what is left."""
    whole = measuring._product(2 * 512**3 * 2.25)()
    assert sum(2 * 512 * 512 * x.shape[1] for x in whole) == 2 * 512**3 * 2.25
