"""Builds the compiled kernels: a C++ compiler and the standard library, nothing of torch."""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["LIBRARY", "build", "compiler", "digest"]

HERE = Path(__file__).parent
LIBRARY = HERE / "kernels.so"
COMMON = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-math-errno",
)
"""Never -ffast-math: NaN goes in and NaN comes out, and the whole process would lose denormal numbers."""
LEVELS = {
    "portable": (),
    "avx2": ("-mavx2", "-mfma"),
    "avx512": (
        *("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"),
        "-mprefer-vector-width=512",
    ),
}
"""Flags by level; those of x86 are built there alone."""


def compiler() -> str | None:
    """The C++ compiler: $CXX, or the first found of c++, g++, clang++; None where there is none."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return next((found for name in names if (found := shutil.which(name))), None)


def digest() -> str:
    """SHA-256 (hex) of the names and contents of the C++ files beside this one."""
    sha = hashlib.sha256()
    for path in sorted((*HERE.glob("*.cpp"), *HERE.glob("*.h"))):
        content = path.read_bytes()
        sha.update(f"{path.name} {len(content)}\n".encode() + content)
    return sha.hexdigest()


def build(target: Path = LIBRARY, *, flags: Sequence[str] = ()) -> Path:
    """Compile every level and link them into one library, which replaces `target` when it is whole.

    Takes some ten seconds of one core.

    Args:
        target: The file to write.
        flags: Further ones for the compiler, as those of sanitizers.

    Raises:
        RuntimeError: There is no compiler, or it failed, with its first words.
    """
    tool = compiler()
    if tool is None:
        raise RuntimeError("no C++ compiler found: install g++ or clang++, or set CXX")
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    levels = LEVELS if x86 else {"portable": ()}
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        objects = [Path(folder, f"{level}.o") for level in levels]
        for path, (level, own) in zip(objects, levels.items(), strict=True):
            name = f"-DLINSIGHT_LEVEL={level}"
            _run(tool, *COMMON, *own, *flags, name, "-c", HERE / "level.cpp", "-o", path)
        whole = Path(folder, target.name)
        stamp = f'-DLINSIGHT_SOURCES="{digest()}"'
        _run(tool, *COMMON, *flags, stamp, "-shared", HERE / "library.cpp", *objects, "-o", whole)
        whole.replace(target)
    return target


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        raise RuntimeError(f"{Path(command[0]).name} could not build the kernels: {first.strip()}")
