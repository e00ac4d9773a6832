"""Tasks: data, model, loss and evaluation of one problem each, in plain torch."""

from typing import TYPE_CHECKING

from linsight.lazy import reexports

if TYPE_CHECKING:
    from linsight.tasks.base import Batch, ComparedConfig, Progress, Split, Task
    from linsight.tasks.exhibits import (
        Box,
        Curves,
        Evaluation,
        Exhibit,
        Grid,
        Heatmap,
        Line,
        Picture,
        Pictures,
        Role,
        Table,
        Text,
    )

__all__ = [
    "Batch",
    "Box",
    "ComparedConfig",
    "Curves",
    "Evaluation",
    "Exhibit",
    "Grid",
    "Heatmap",
    "Line",
    "Picture",
    "Pictures",
    "Progress",
    "Role",
    "Split",
    "Table",
    "Task",
    "Text",
]

__getattr__ = reexports(__name__)
