"""linsight: linear-time token mixers for PyTorch, and the vision and sequence tasks built on them."""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = [
    "conformance",
    "data",
    "densities",
    "kernels",
    "losses",
    "metrics",
    "mixers",
    "models",
    "nn",
    "ops",
    "optim",
    "profiling",
    "reports",
    "tasks",
    "training",
]
__version__ = "0.1.0"

if TYPE_CHECKING:
    from linsight import (
        conformance,
        data,
        densities,
        kernels,
        losses,
        metrics,
        mixers,
        models,
        nn,
        ops,
        optim,
        profiling,
        reports,
        tasks,
        training,
    )


def __getattr__(name: str) -> Any:
    # Subpackages load on first use, so that `linsight --help` answers without importing torch.
    if name in __all__:
        return importlib.import_module(f"linsight.{name}")
    raise AttributeError(f"module 'linsight' has no attribute {name!r}")
