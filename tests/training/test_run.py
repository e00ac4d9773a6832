"""A run folder holds one configuration, belongs to one training at a time, and is never half written."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
import torch
from toy_training import ToyRun, largest_file, toy_run

from linsight.training import load_run, open_run
from linsight.training.files import digest_tensors, remove_leftovers, write_atomically
from linsight.training.lock import locked


def silent(message: str) -> None:
    raise AssertionError(message)


def test_a_run_is_made_and_opened_again(tmp_path):
    """Opening is idempotent, and `load_run` gives back the configuration."""
    run = open_run(tmp_path / "deep" / "run", toy_run())
    before = run.config_file.stat().st_mtime_ns
    assert open_run(str(tmp_path / "deep" / "run"), toy_run()).config == run.config
    assert run.config_file.stat().st_mtime_ns == before
    assert load_run(run.folder, ToyRun).config == toy_run()


def test_another_configuration_is_refused(tmp_path):
    """The first differing field, with both values."""
    open_run(tmp_path, toy_run(12))
    with pytest.raises(ValueError, match=r"another configuration: training.steps is 12 there and 13 here"):
        open_run(tmp_path, toy_run(13))


def test_a_folder_of_other_things_is_refused(tmp_path):
    """Nothing is written among files that are not ours; hidden files and our own leftovers do not count."""
    (tmp_path / ".hidden").touch()
    (tmp_path / ".config.json.77.partial").touch()
    open_run(tmp_path, toy_run())
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"not empty, but no run \(no config.json, but thesis.tex\)"):
        open_run(other, toy_run())
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]
    with pytest.raises(ValueError, match="expected a folder, got a file"):
        open_run(other / "thesis.tex", toy_run())


def test_no_run_and_damaged_configurations_are_named(tmp_path):
    """Missing, truncated, binary: one line with the path."""
    with pytest.raises(FileNotFoundError, match=r"no run is here \(no config.json\)"):
        load_run(tmp_path, ToyRun)
    run = open_run(tmp_path, toy_run())
    text = run.config_file.read_text()
    run.config_file.write_text(text[:100])
    with pytest.raises(ValueError, match=r"config.json: not valid JSON at line"):
        open_run(tmp_path, toy_run())
    run.config_file.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"config.json: not a text in UTF-8"):
        load_run(tmp_path, ToyRun)
    run.config_file.write_text(json.dumps(json.loads(text) | {"version": 9}))
    with pytest.raises(ValueError, match=r"config.json: version 9 is of a newer linsight"):
        load_run(tmp_path, ToyRun)


def test_an_unencodable_configuration_makes_no_folder(tmp_path):
    """What cannot be saved is refused before anything is made."""
    with pytest.raises(ValueError, match=r"training\.clip_norm"):
        open_run(tmp_path / "run", _broken())
    assert not (tmp_path / "run").exists()


def _broken() -> ToyRun:
    config = toy_run()
    object.__setattr__(config.training, "clip_norm", float("nan"))
    return config


def test_atomic_writes_leave_the_old_file(tmp_path):
    """A writer that dies half-way leaves the old content and, once cleaned, nothing else."""
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with largest_file(1000), pytest.raises(OSError, match="File too large") as refused:
        write_atomically(path, bytes(2000))
    assert refused.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / ".file.99.partial").touch()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_lock_is_exclusive_and_released(tmp_path):
    """The second holder is told who holds it; afterwards it is free, without a word."""
    with (
        locked(tmp_path, silent),
        pytest.raises(RuntimeError, match=f"process {os.getpid()} is training here; wait for it or stop it"),
        locked(tmp_path, silent),
    ):
        pass
    with locked(tmp_path, silent):
        pass


def test_the_lock_of_a_killed_process_is_taken_over_aloud(tmp_path):
    """The kernel frees the lock, whatever process number is left in the file; the number is reported."""
    script = f"""
        import os
        from pathlib import Path
        from linsight.training.lock import locked
        with locked(Path({str(tmp_path)!r}), print):
            print(os.getpid(), flush=True)
            os.kill(os.getpid(), 9)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    pid = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    assert pid.isdigit()
    said = []
    with locked(tmp_path, said.append):
        pass
    assert said == [f"the lock of process {pid}, which ended without releasing it, is taken over"]


def test_the_digest_sees_everything_but_order():
    """Names, types, shapes, bytes and the text count; the order of the dictionary does not."""
    a, b = torch.arange(4.0), torch.zeros(0, 3)
    digest = digest_tensors({"a": a, "b": b})
    assert digest == digest_tensors({"b": b, "a": a.clone()})
    others = [
        {"a": a, "c": b},
        {"a": a.reshape(2, 2), "b": b},
        {"a": a.view(torch.int32), "b": b},
        {"a": a + 1e-6, "b": b},
        {"a": a},
    ]
    assert len({digest, digest_tensors({"a": a, "b": b}, extra="x"), *map(digest_tensors, others)}) == 7
