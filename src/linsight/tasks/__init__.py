"""Tasks: data, model, loss and evaluation of one problem each, in plain torch."""

from linsight.tasks.base import Batch, ComparedConfig, Progress, Split, Task
from linsight.tasks.exhibits import Curves, Evaluation, Exhibit, Grid, Heatmap, Table, Text

__all__ = [
    "Batch",
    "ComparedConfig",
    "Curves",
    "Evaluation",
    "Exhibit",
    "Grid",
    "Heatmap",
    "Progress",
    "Split",
    "Table",
    "Task",
    "Text",
]
