"""Run folder to pictures, numbers and a page."""

from linsight.reports.environment import environment
from linsight.reports.figures import draw, save
from linsight.reports.folder import write_folder
from linsight.reports.report import write

__all__ = ["draw", "environment", "save", "write", "write_folder"]
