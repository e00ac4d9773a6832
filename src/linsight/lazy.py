"""Packages that import what they re-export when it is first asked for."""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

__all__ = ["reexports"]


def reexports(package: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose `__init__` has its imports under `if TYPE_CHECKING` alone.

    Those imports are read from the source when a name is first asked for, so that what type checkers see and
    what is loaded cannot differ; each name is then an ordinary attribute. Submodules are attributes too. No
    name may be that of a submodule: importing that would hide it.

    Args:
        package: Its `__name__`.

    Raises:
        AttributeError: From what is returned, for a name that the package does not have.
    """

    @cache
    def origins() -> dict[str, str]:
        spec = importlib.util.find_spec(package)
        source = spec.loader.get_source(package) if spec and spec.loader else ""  # pyright: ignore
        body = ast.parse(source).body
        blocks = [node.body for node in body if isinstance(node, ast.If)]
        imports = [node for block in blocks for node in block if isinstance(node, ast.ImportFrom)]
        return {alias.name: node.module or "" for node in imports for alias in node.names}

    def load(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if name in origins():
            value = getattr(importlib.import_module(origins()[name]), name)
            setattr(sys.modules[package], name, value)
            return value
        if importlib.util.find_spec(f"{package}.{name}") is not None:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load
