"""Finds a subject in anybody's Python file."""

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from linsight.conformance.subject import Subject, adapted

__all__ = ["load_subject"]


def load_subject(path: str | Path, factory: str) -> Subject:
    """The subject that the function `factory` in the Python file `path` makes.

    The function takes no arguments and returns what `Subject.make` may return, or a `Subject`. The file is
    executed, as `python path` would.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file does not define the function, or the function asks for arguments.
        TypeError: It returns something else.
    """
    path = Path(path)
    module = _execute(path)
    found = getattr(module, factory, None)
    if not callable(found):
        known = [name for name, value in vars(module).items() if _is_factory(value, module.__name__)]
        raise ValueError(
            f"{path}: no function {factory!r}; it defines {', '.join(known) or 'no function at all'}"
        )
    required = [
        name
        for name, parameter in inspect.signature(found).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if required:
        raise ValueError(f"{path}: {factory} must take no arguments, and asks for {', '.join(required)}")
    name = f"{path}:{factory}"
    make: Callable[..., Any] = found
    with torch.random.fork_rng(devices=[]):
        made = make()
    if isinstance(made, Subject):
        return made
    adapted(made, name)
    return Subject(name, make)


def _execute(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    name = f"linsight_checked_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: expected a Python file, named .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their modules up here
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def _is_factory(value: Any, module: str) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module
