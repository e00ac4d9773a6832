"""Builds the compiled kernels into the wheel where there is a C++ compiler; without one the wheel is pure."""

import importlib.util
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelsHook(BuildHookInterface):
    """One library of plain C functions: any Python and any torch can load it, so the wheel names neither."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say so; what fails is said too, and leaves a package that runs without kernels."""
        if self.target_name != "wheel":
            return
        path = Path(self.root, "src/linsight/kernels/cpu/compiling.py")
        spec = importlib.util.spec_from_file_location("linsight_kernels_compiling", path)
        compiling = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(compiling)
        try:
            compiling.build()
        except RuntimeError as error:
            compiling.LIBRARY.unlink(missing_ok=True)
            self.app.display_warning(f"linsight without compiled kernels: {error}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
