"""Run folder to pictures, numbers and a page."""

from typing import TYPE_CHECKING

from linsight.lazy import reexports

if TYPE_CHECKING:
    from linsight.reports.figures import draw, save
    from linsight.reports.folder import write_folder
    from linsight.reports.report import write

__all__ = ["draw", "save", "write", "write_folder"]

__getattr__ = reexports(__name__)
