"""Kept memory is fetched once; what users have set themselves is left alone."""

import ctypes
import os
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from linsight.profiling import allocator, keep_memory

if sys.argv[1] == "keep":
    print(keep_memory())
for _ in range(3):
    torch.ones(4 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.ones(16 << 20)
    torch.ones(1 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(allocator())
"""
GLIBC = hasattr(ctypes.CDLL(None), "gnu_get_libc_version") if sys.platform == "linux" else False
needs_glibc = pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")


def told(*arguments, **variables):
    environment = {k: v for k, v in os.environ.items() if k not in ("GLIBC_TUNABLES", "LD_PRELOAD")}
    environment = {k: v for k, v in environment.items() if not k.startswith("MALLOC_")} | variables
    command = [sys.executable, "-c", FAULTS, *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()


@needs_glibc
def test_kept_memory_is_fetched_once():
    """Eight tensors of 64 MiB, one after another, need the pages of one; without, those of eight."""
    kept, faults, says = told("keep")
    assert (kept, says) == ("True", "glibc keeps what is freed (mallopt)")
    faults_without, says = told("leave")
    assert says == "default"
    assert 3 * int(faults) < int(faults_without)


@needs_glibc
@pytest.mark.parametrize(
    "variables",
    [{"GLIBC_TUNABLES": "glibc.malloc.top_pad=131072"}, {"MALLOC_ARENA_MAX": "2"}],
    ids=lambda one: next(iter(one)),
)
def test_settings_of_the_user_are_left_alone(variables):
    kept, _, says = told("keep", **variables)
    assert kept == "False"
    assert says == variables.get("GLIBC_TUNABLES", "default")


def test_another_c_library_is_left_alone(monkeypatch):
    from linsight.profiling import allocator, keep_memory

    class Other:
        """As musl: no version of glibc."""

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Other())
    for name in ("GLIBC_TUNABLES", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    assert not keep_memory()
    assert allocator() == "default"
