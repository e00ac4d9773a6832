"""Texts of one's own: a file or a folder of them, split by whole files or by position."""

import os
from dataclasses import dataclass
from pathlib import Path

from linsight.data.splits import check_split
from linsight.data.texts import shakespeare

__all__ = ["SplitText", "read_text_split"]

FEW = 10
"""Fewer files than this are split by position: a whole one for the test would be too large a part."""


@dataclass(frozen=True)
class SplitText:
    """The bytes of one split, and a sentence on how the text was split."""

    content: bytes
    how: str


def read_text_split(source: str | os.PathLike[str], split: str) -> SplitText:
    """One split of "shakespeare", of a text file, or of the `.txt` files of a folder in the order of names.

    Ten files or more are split by whole files: the last twentieth (rounded up) is the test split, the one
    before it the validation split. Fewer are joined by a LF and split by position, 90 / 5 / 5 percent.

    Raises:
        FileNotFoundError: No such file or folder.
        ValueError: Another split; a folder without `.txt` files; a split without a single byte.
    """
    check_split(split)
    if source == "shakespeare":
        return SplitText(
            shakespeare(split), "by whole works: 2 for validation, 2 for the test, 38 to train on"
        )
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(
            f"text: no file or folder {str(path)!r}; name one, or 'shakespeare' for the text inside linsight"
        )
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"text: expected .txt files in {str(path)!r}, found none")
    if len(files) >= FEW:
        part = -(-len(files) // 20)
        borders = {"train": (0, -2 * part), "valid": (-2 * part, -part), "test": (-part, None)}
        content = b"\n".join(file.read_bytes() for file in files[slice(*borders[split])])
        how = f"by whole files by name: of {len(files)} the last {part} to test, {part} before them"
    else:
        whole = b"\n".join(file.read_bytes() for file in files)
        cuts = {"train": (0, 90), "valid": (90, 95), "test": (95, 100)}
        first, last = (len(whole) * percent // 100 for percent in cuts[split])
        content, how = whole[first:last], f"by position: 90, 5 and 5 percent of {len(whole):,} bytes"
    if not content:
        raise ValueError(
            f"text: expected at least one byte in the {split} split of {str(path)!r}, found none"
        )
    return SplitText(content, how)
