"""The compiled library: what it says of itself, when it is refused, and what runs without it."""

import ctypes
import itertools
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from kernel_calls import attention, results

from linsight import kernels
from linsight.kernels.cpu import compiling, library, openmp

needs_library = pytest.mark.skipif(not kernels.cpu.levels(), reason=f"no library: {kernels.cpu.why_not()}")


def python(code: str, **environment: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ASK = "from linsight import kernels; print(kernels.cpu.level(), kernels.cpu.why_not(), sep=': ')"


@needs_library
def test_levels_end_with_the_portable_one_and_the_best_is_taken() -> None:
    assert kernels.cpu.levels()[-1] == "portable"
    assert kernels.cpu.level() == kernels.cpu.levels()[0]


@needs_library
@pytest.mark.parametrize("wanted", ["portable", "off"])
def test_the_environment_forces_a_level_or_none(wanted: str) -> None:
    expected = "portable: None" if wanted == "portable" else "None: LINSIGHT_CPU=off"
    assert python(ASK, LINSIGHT_CPU=wanted) == expected


@needs_library
def test_a_level_holds_inside_its_block_alone() -> None:
    best = kernels.cpu.level()
    with kernels.cpu.at_level("portable"):
        assert kernels.cpu.level() == "portable"
        with kernels.cpu.at_level("off"):
            assert kernels.cpu.level() is None
            assert kernels.cpu.why_not() == "turned off"
            assert (
                kernels.choose("selective_scan", "cpu", torch.float32).passed_over["compiled"] == "turned off"
            )
        assert kernels.cpu.level() == "portable"
    assert kernels.cpu.level() == best


def test_unknown_levels_are_refused() -> None:
    with (
        pytest.raises(ValueError, match=r"level: expected one of .*off, got 'mmx'"),
        kernels.cpu.at_level("mmx"),
    ):
        pass


@needs_library
def test_a_library_of_other_sources_is_refused(monkeypatch, tmp_path: Path) -> None:
    """The digest of the sources is inside the library: one changed letter, and it does not load."""
    for path in compiling.HERE.glob("*.[ch]*"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(compiling, "HERE", tmp_path)
    monkeypatch.setattr(library, "digest", compiling.digest)
    assert library._load()
    with (tmp_path / "level.cpp").open("a") as file:
        file.write("\n")
    with pytest.raises(library._Unusable, match="built from other sources: `linsight doctor --build`"):
        library._load()


def test_without_a_library_everything_says_so(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "kernels.so")
    with pytest.raises(library._Unusable, match="not built: `linsight doctor --build`"):
        library._load()
    (tmp_path / "kernels.so").write_bytes(b"no library")
    with pytest.raises(library._Unusable, match=r"the library does not load: .*kernels\.so"):
        library._load()


WITHOUT = """
from pathlib import Path
import torch
from linsight import ops
from linsight.kernels.cpu import library

library.LIBRARY = Path("nowhere")
q = torch.ones(1, 3, 1, 2)
sums = [ops.linear_attention(q, q, q)[0].sum().item() for _ in range(2)]
print(sums, ops.linear_attention_plan(q, q, q).form)
"""


def test_what_runs_in_place_of_kernels_is_said_once_and_may_be_an_error() -> None:
    """A fresh process without a library: one line, the same numbers; Python's -W error refuses to go on."""
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert done.stdout == "[24.0, 24.0] parallel\n"
    assert done.stderr.count("RuntimeWarning") == 1
    assert "compiled kernels do not run: not built: `linsight doctor --build`" in done.stderr
    assert "PyTorch's own operations run in their place" in done.stderr
    refused = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", WITHOUT], capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert "RuntimeWarning: compiled kernels do not run: not built" in refused.stderr


def test_who_asks_for_no_kernels_is_told_nothing() -> None:
    """LINSIGHT_CPU=off is the caller's own word."""
    off = {**os.environ, "LINSIGHT_CPU": "off"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, env=off
    )
    assert done.stderr == ""


def test_without_a_compiler_building_is_refused_in_one_line(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(
        RuntimeError, match="no C\\+\\+ compiler found: install g\\+\\+ or clang\\+\\+, or set CXX"
    ):
        compiling.build()


@pytest.mark.skipif(compiling.compiler() is None, reason="no C++ compiler here")
def test_what_the_compiler_refuses_is_told_and_leaves_the_library_alone(monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "level.cpp").write_text("this is no C++\n")
    (tmp_path / "kernels.so").write_bytes(b"before")
    monkeypatch.setattr(compiling, "HERE", tmp_path)
    with pytest.raises(RuntimeError, match=r"could not build the kernels: .*level\.cpp.*error"):
        compiling.build(tmp_path / "kernels.so")
    assert (tmp_path / "kernels.so").read_bytes() == b"before"
    assert {path.name for path in tmp_path.iterdir()} == {"level.cpp", "kernels.so"}


@pytest.mark.skipif(compiling.compiler() is None, reason="no C++ compiler here")
def test_there_is_a_library_where_there_is_a_compiler() -> None:
    """`pip install` builds it; a machine that could have it and has it not would skip every test of it."""
    assert kernels.cpu.levels(), kernels.cpu.why_not()


@needs_library
def test_the_threads_are_torchs_own_or_ours_and_compute_the_same(monkeypatch) -> None:
    """Torch's wheels bring a runtime whose threads would stand in the way of others; elsewhere ours do."""
    monkeypatch.setattr(library, "ENOUGH", 1)
    call, before, found = attention("token", "after", 3, 70, 20, 20), torch.get_num_threads(), []
    try:
        torch.set_num_threads(5)
        for ours in (False, True):
            if ours:
                monkeypatch.setattr(library, "runtime", lambda: None)
            found.append(results(call, "compiled"))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(x, found[1][name]) for name, x in found[0].items())
    assert (openmp._loaded() is not None) == any((Path(torch.__file__).parent / "lib").glob("libgomp*"))


KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
PARALLEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
NUMBER = ctypes.CFUNCTYPE(ctypes.c_int)


@needs_library
@pytest.mark.parametrize("come", [None, 1, 2, 5, 7])
def test_every_unit_is_done_once_in_memory_of_its_own(monkeypatch, come: int | None) -> None:
    """However many threads a runtime gives where five are asked for; None: there is no runtime."""
    parts, turn = [], [0]
    kernel = KERNEL(lambda _, begin, end, memory: parts.append((begin, end, memory)))

    def in_turn(work: int, data: int, threads: int, _: int) -> None:
        assert threads == 5
        for turn[0] in range(come or 0):
            WORK(work)(data)

    functions = PARALLEL(in_turn), NUMBER(lambda: turn[0]), NUMBER(lambda: come or 0)
    addresses = [ctypes.cast(function, ctypes.c_void_p).value or 0 for function in functions]
    monkeypatch.setattr(library, "runtime", lambda: openmp.Runtime(*addresses) if come else None)
    monkeypatch.setattr(library, "_function", lambda *_: kernel)
    before = torch.get_num_threads()
    torch.set_num_threads(5)
    try:
        library.run("none", library._Shared(), units=13, scratch=17, operations=5 * library.ENOUGH)
    finally:
        torch.set_num_threads(before)
    assert sorted(unit for begin, end, _ in parts for unit in range(begin, end)) == list(range(13))
    memories = sorted(memory for *_, memory in parts)
    assert len(memories) == 5
    assert all(second - first >= 17 * 4 for first, second in itertools.pairwise(memories))


@needs_library
def test_a_forked_process_computes_the_same() -> None:
    """Torch's runtime knows there of threads that did not come along, and would wait for them for ever."""
    program = """
        import os
        import torch
        from linsight import ops
        from linsight.kernels.cpu import library
        library.ENOUGH = 1
        torch.set_num_threads(2)
        q, k, v = torch.rand(3, 2, 300, 4, 32, generator=torch.Generator().manual_seed(0)).unbind(0)
        expected, _ = ops.linear_attention(q, k, v, form="compiled")
        child = os.fork()
        if child == 0:
            found, _ = ops.linear_attention(q, k, v, form="compiled")
            os._exit(0 if (found.numpy() == expected.numpy()).all() else 3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "0", done.stderr
