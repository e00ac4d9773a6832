"""XML from anybody: elements with their lines; no document types, hence no entities, and bounded depth."""

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from linsight.data.annotations.files import contents, quoted, refusal

__all__ = ["Element", "read_xml"]

MAX_BYTES = 2**24
"""Of one file, which describes one image."""

_DEPTH = 32


@dataclass(eq=False)
class Element:
    """An element: its name, text, children, and where it begins."""

    path: Path
    tag: str
    line: int
    column: int
    text: str = ""
    """All that stands in it outside its children."""
    children: list["Element"] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    def refuse(self, message: str) -> ValueError:
        """A ValueError that says where this element is."""
        return refusal(self.path, f"line {self.line}, column {self.column}, <{self.tag}>", message)

    def all(self, tag: str) -> list["Element"]:
        """The children of this name."""
        return [child for child in self.children if child.tag == tag]

    def one(self, tag: str) -> "Element":
        """The only child of this name; ValueError where there is none, or more than one."""
        found = self.all(tag)
        if len(found) != 1:
            raise self.refuse(f"expected one <{tag}>, got {len(found)}")
        return found[0]

    def optional(self, tag: str) -> "Element | None":
        """The child of this name, or None; ValueError for more than one."""
        return self.one(tag) if self.all(tag) else None

    def string(self) -> str:
        """The text, without space around it; ValueError where there is none."""
        text = self.text.strip()
        if not text:
            raise self.refuse("expected text, got none")
        return text

    def number(self, most: float = 1e9) -> float:
        """The text as a number of at most this magnitude."""
        text = self.string()
        try:
            value = float(text) if len(text) < 64 and "_" not in text else float("nan")
        except ValueError:
            value = float("nan")
        if not abs(value) <= most:  # NaN too
            raise self.refuse(f"expected a number, got {quoted(text)}")
        return value

    def integer(self, least: int, most: int) -> int:
        """The text as an integer within these bounds."""
        value = self.number(most=2.0**53)
        if value != int(value) or not least <= value <= most:
            raise self.refuse(f"expected an integer from {least} to {most}, got {quoted(self.text.strip())}")
        return int(value)


def read_xml(path: Path) -> Element:
    """The root of an XML file.

    Raises FileNotFoundError without the file; ValueError, with line and column, where it is malformed, larger
    than 16 MiB, nested more than 32 deep, in an unknown encoding, or has a document type: annotations need
    none, and it is the way to entities that grow without bound or read other files.
    """
    raw = contents(path, MAX_BYTES)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    stack: list[Element] = []
    roots: list[Element] = []

    def here(message: str) -> ValueError:
        place = f"line {parser.CurrentLineNumber}, column {parser.CurrentColumnNumber + 1}"
        return refusal(path, place, message)

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(stack) == _DEPTH:
            raise here(f"expected elements nested at most {_DEPTH} deep, got more")
        element = Element(path, tag, parser.CurrentLineNumber, parser.CurrentColumnNumber + 1)
        (stack[-1].children if stack else roots).append(element)
        stack.append(element)

    def end(tag: str) -> None:
        element = stack.pop()
        element.text = "".join(element.parts)
        element.parts.clear()

    def characters(text: str) -> None:
        stack[-1].parts.append(text)

    def doctype(*_: object) -> None:
        raise here("expected no document type and no entities, got <!DOCTYPE")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        place = f"line {error.lineno}, column {error.offset + 1}"
        raise refusal(path, place, f"malformed XML ({expat.errors.messages[error.code]})") from None
    except (LookupError, UnicodeError) as error:
        raise refusal(path, "", f"unknown encoding ({error})") from None
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise refusal(path, "", f"malformed XML ({error})") from None
    return roots[0]
