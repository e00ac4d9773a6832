"""What a number depends on is said, and somebody else's commit is not taken for ours."""

import subprocess
from pathlib import Path

import pytest
import torch

import linsight
from linsight.reports.environment import commit, environment


def test_the_environment_names_versions_processor_and_threads() -> None:
    found = environment()
    assert found["linsight"] == linsight.__version__
    assert found["torch"] == torch.__version__
    assert found["threads"] == str(torch.get_num_threads())
    assert found["processor"]
    assert all(isinstance(value, str) and value for value in found.values())


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_commit_is_that_of_the_source_and_marks_edits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "linsight"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(linsight, "__file__", str(package / "__init__.py"))
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "-m", "a project whose environment linsight is installed into")
    assert commit() is None
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "linsight itself")
    clean = commit()
    assert clean is not None
    assert len(clean) == 12
    (package / "__init__.py").write_text("edited = True\n")
    assert commit() == f"{clean}+"


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() is None
