"""Files of bounded size, names that stay in their folder, and refusals of one line."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

__all__ = ["MAX_BYTES", "check_name", "contents", "files_of", "lines_of", "quoted", "refusal"]

MAX_BYTES = 2**31
"""Of one annotation file: what a reader may take into memory."""

_LONGEST = 200  # characters of a quoted value


def refusal(path: str | os.PathLike[str], place: str, message: str) -> ValueError:
    """A ValueError on one line: the file, the place in it, and what is wrong; all printable."""
    text = f"{os.fspath(path)}: {place}{': ' if place else ''}{message}"
    return ValueError("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


def quoted(value: object) -> str:
    """A value as it is shown in a refusal, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = "a huge integer"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def contents(path: Path, most: int = MAX_BYTES) -> bytes:
    """The bytes of a file. Raises FileNotFoundError without it; ValueError for a folder, or more bytes."""
    try:
        if not path.exists():
            raise FileNotFoundError(f"{path}: there is no such file")
        if not path.is_file():
            raise refusal(path, "", "expected a file, got a folder or a device")
        if path.stat().st_size > most:
            raise refusal(path, "", f"expected at most {most} bytes, got {path.stat().st_size}")
        return path.read_bytes()
    except PermissionError:
        raise refusal(path, "", "no permission to read it") from None


def lines_of(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, fields) of the lines with anything on them; UTF-8. Raises what `contents` raises."""
    raw = contents(path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise refusal(path, f"line {line}", f"byte {error.start} is no UTF-8") from None
    split = ((number, line.split()) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, fields) for number, fields in split if fields]


def files_of(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder with this suffix, in the order of their names.

    Raises FileNotFoundError without the folder; ValueError for a file, or a link that leaves the folder.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    if not folder.is_dir():
        raise refusal(folder, "", f"expected a folder of {suffix} files, got a file")
    found = sorted(path for path in folder.iterdir() if path.suffix == suffix)
    inside = folder.resolve()
    for path in found:
        if not path.resolve().is_relative_to(inside):
            raise refusal(path, "", "leaves the folder by a link")
    return found


def check_name(name: str, path: str | os.PathLike[str], place: str, *, folders: bool) -> str:
    """`name`, if it is of a file inside the folder it is looked up in, on any system.

    Raises ValueError for an absolute name, one with "..", a control character, nothing, or, unless `folders`
    are allowed, with a slash.
    """
    parts = PurePosixPath(name).parts + PureWindowsPath(name).parts
    rooted = PurePosixPath(name).is_absolute() or bool(PureWindowsPath(name).anchor)
    if not name.strip() or not name.isprintable():
        raise refusal(path, place, f"expected the name of a file, got {quoted(name)}")
    if rooted or ".." in parts or name in (".", ".."):
        raise refusal(path, place, f"expected a name inside the folder, got {quoted(name)}, which leaves it")
    if not folders and ("/" in name or "\\" in name):
        raise refusal(path, place, f"expected a name without folders, got {quoted(name)}")
    return name
