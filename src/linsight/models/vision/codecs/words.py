"""Codecs as words: a name, and after it options, with spaces between."""

import ast
from typing import Any

from linsight.models.vision.codecs.base import Codec
from linsight.models.vision.codecs.build import CODECS, codec_options, make_codec
from linsight.models.vision.codecs.space import Space

__all__ = ["codec_from_words"]


def codec_from_words(words: str, space: Space, **defaults: Any) -> Codec:
    """The codec that `NAME OPTION=VALUE ...` names; values are Python's numbers, truth values, None, words.

    Args:
        words: As in "heatmap stride=2 decoder=quarter".
        space: `Pixels` or `Directions`.
        defaults: Of options that the codec has and the words do not give; others are left out.

    Raises:
        ValueError: An unknown name or option, something that is no option, a value that the codec refuses.

    Example:
        >>> from linsight.models.vision.codecs import Pixels
        >>> codec_from_words("heatmap sigma=1.5", Pixels(48, 64), stride=2).grid.size
        (32, 24)
    """
    name, *given = words.split() or [""]
    if name not in CODECS:
        raise ValueError(f"codec {name!r} is not known; choose one of {', '.join(CODECS)}")
    options: dict[str, Any] = {}
    for text in given:
        option, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"codec {name!r}: expected OPTION=VALUE after the name, got {text!r}")
        options[option] = _value(value)
    for option in codec_options(name):
        if option in defaults:
            options.setdefault(option, defaults[option])
    try:
        return make_codec(name, space, **options)
    except TypeError as error:
        raise ValueError(f"codec {words!r}: {error}") from None


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
