"""`linsight doctor`: what is there, which engine each op takes, and a code that says whether all is well."""

import importlib.metadata
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from linsight import kernels
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
