"""Language modelling of bytes: the embedded Shakespeare, or a text of one's own."""

from linsight.tasks.language.task import LanguageConfig, LanguageTask

__all__ = ["LanguageConfig", "LanguageTask"]
