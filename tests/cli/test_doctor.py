"""`linsight doctor`: what is there, which engine each op takes, and a code that says whether all is well."""

import importlib.metadata
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from linsight import kernels
from linsight.cli import diagnosis
from linsight.cli.main import main
from linsight.data import embedded

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_json_for_programs_through_the_real_entry_point(linsight: Command) -> None:
    done = linsight("doctor", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["problems"] == []
    assert {row["op"] for row in found["ops"]} == set(kernels.OPS)
    assert {row["file"]: row["state"] for row in found["data"]} == dict.fromkeys(embedded.FILES, "whole")


def test_people_read_every_engine_and_why_not_a_faster_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for words in (
        "environment",
        "torch",
        "linear_attention     cpu",
        "selective_scan  ",
        "triton: ",
        "mnist.xz",
        "CC BY-SA 3.0",
    ):
        assert words in printed
    assert not any(line != line.rstrip() for line in printed.splitlines())


def test_a_missing_data_file_is_a_problem_and_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    (tmp_path / "mnist.xz").write_bytes(b"no xz at all")
    assert main(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in found["data"]] == ["damaged", "missing", "missing"]
    assert len(found["problems"]) == 3
    assert str(tmp_path / "mnist.xz") in found["problems"][0]


def test_a_malicious_release_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "2.6.3" if name == "lightning" else installed(name)
    )
    assert main(["doctor"]) == 0
    assert "lightning 2.6.3 was published with malicious code" in capsys.readouterr().out


def test_an_unknown_option_is_the_users_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--jsn"]) == 2
    assert "unrecognized options: --jsn (did you mean --json?)" in capsys.readouterr().err


def test_an_engine_that_is_required_and_runs_nowhere_is_a_failure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with kernels.cpu.at_level("off"):
        assert main(["doctor", "--json", "--require", "compiled"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == ["no op runs by 'compiled' here; see the table of ops for why"]
    assert found["compiled kernels"]["library"] == "turned off"
    assert found[CHECKS] == []


@pytest.mark.skipif(not kernels.cpu.levels(), reason="no library here")
def test_an_engine_that_is_required_and_runs_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", "--require", "compiled"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["compiled kernels"]["library"] == "loaded"
    assert found["compiled kernels"]["level of instructions"] == kernels.cpu.levels()[0]


CHECKS = "self-checks of compiled ops, float32 against float64"


@pytest.mark.skipif(not kernels.cpu.levels(), reason="no library here")
def test_every_compiled_op_is_checked_against_float64(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)[CHECKS]
    assert [row["op"] for row in rows] == [op for op, engines in kernels.OPS.items() if "compiled" in engines]
    assert all(float(row["relative error"]) < 2e-6 for row in rows)


@pytest.mark.skipif(not kernels.cpu.levels(), reason="no library here")
@pytest.mark.parametrize("error", [1e-3, float("nan")])
def test_a_kernel_that_is_wrong_here_is_a_problem_and_a_failure(
    error: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as one that a compiler has broken: the op is named, and what computes without it."""
    honest = diagnosis.self_check
    monkeypatch.setattr(diagnosis, "self_check", lambda op: error if op == "delta_rule" else honest(op))
    assert main(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    (problem,) = found["problems"]
    assert problem.startswith("the compiled delta_rule is wrong on this machine: relative error")
    assert "LINSIGHT_CPU=off" in problem
    assert [row["verdict"] for row in found[CHECKS]].count("wrong") == 1


def test_building_without_a_compiler_is_one_line_and_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert main(["doctor", "--build"]) == 1
    assert capsys.readouterr().err == (
        "linsight: no C++ compiler found: install g++ or clang++, or set CXX\n"
    )
