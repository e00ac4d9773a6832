"""Words of the command line to subjects of the conformance kit, and back to the command of a verdict."""

import difflib
import shlex
from collections.abc import Sequence
from dataclasses import replace

from linsight import mixers
from linsight.cli.mixer_words import mixer_options
from linsight.conformance import (
    LAWS,
    Subject,
    Verdict,
    kind_subject,
    load_subject,
    our_subjects,
    small_options,
)

__all__ = ["laws_named", "replay", "subject_named", "subjects_named"]

BIDIRECTIONAL = "bidirectional"


def subject_named(word: str) -> Subject:
    """The subject that a word of the command line names; it has been built once, and carries that name.

    Args:
        word: FILE.py:FACTORY; a name in `our_subjects()`; or a kind of mixer, after it options and
            `bidirectional`, with spaces between: `linear feature_map=relu bidirectional`.

    Raises:
        ValueError: Nothing has this name, or the options make no mixer.
        FileNotFoundError: There is no such file.
        TypeError: The factory makes nothing that can be checked.
    """
    ours = our_subjects()
    if word in ours:
        subject = ours[word]
    elif word.endswith(".py"):
        raise ValueError(f"{word}: expected FILE.py:FACTORY, got no factory")
    elif ":" in word:
        subject = load_subject(*word.rsplit(":", 1))
    else:
        subject = _of_a_kind(word)
    subject.build()  # what cannot be built is refused here, once, and not by every law
    return replace(subject, name=word)


def subjects_named(
    words: Sequence[str], *, all_ours: bool = False, options: Sequence[str] = (), bidirectional: bool = False
) -> list[Subject]:
    """The subjects of several words, each once, and after them all of ours if asked for.

    Args:
        words: As `subject_named` takes them.
        all_ours: Whether every subject of `our_subjects()` is added.
        options: OPTION=VALUE, for all the words.
        bidirectional: Whether the words mean mixers that are not causal.

    Raises:
        ValueError: As `subject_named`; options that have no kind of mixer to change.
    """
    changed = [_changed(word, options, bidirectional) for word in words]
    return [subject_named(word) for word in dict.fromkeys([*changed, *(our_subjects() if all_ours else ())])]


def laws_named(names: Sequence[str], *, quick: bool) -> list[str]:
    """The laws of these names, or all that the effort includes if there are none.

    Raises:
        ValueError: A law that does not exist.
    """
    for name in names:
        if name not in LAWS:
            near = difflib.get_close_matches(name, LAWS, n=1)
            guess = f"did you mean {near[0]!r}?" if near else "linsight check --laws lists them"
            raise ValueError(f"unknown law {name!r}; {guess}")
    return list(dict.fromkeys(names)) or [law.name for law in LAWS.values() if law.quick or not quick]


def replay(subject: str, verdict: Verdict, *, quick: bool) -> str:
    """The command that reaches a verdict again, from the word that names its subject."""
    effort = ["--quick"] if quick else []  # it draws other inputs
    command = ["linsight", "check", subject, "--law", verdict.law, "--seed", str(verdict.seed), *effort]
    return shlex.join(command)


def _changed(word: str, options: Sequence[str], bidirectional: bool) -> str:
    """The word of a kind with options and `bidirectional` written into it."""
    if not options and not bidirectional:
        return word
    kind, *words = word.split() or [""]
    if kind not in mixers.kinds():
        flag = "--set" if options else "--bidirectional"
        raise ValueError(f"{flag}: expected a kind of mixer to change, got {word!r}")
    last = [BIDIRECTIONAL] if bidirectional or BIDIRECTIONAL in words else []
    return " ".join([kind, *(text for text in words if text != BIDIRECTIONAL), *options, *last])


def _of_a_kind(word: str) -> Subject:
    kind, *words = word.split() or [""]
    if kind not in mixers.kinds():
        near = difflib.get_close_matches(word, [*our_subjects(), *mixers.kinds()], n=1)
        known = f"expected FILE.py:FACTORY or one of {', '.join(mixers.kinds())}"
        raise ValueError(f"unknown subject {word!r}; {f'did you mean {near[0]!r}?' if near else known}")
    for text in words:
        if text != BIDIRECTIONAL and ("=" not in text or text.startswith("kind=")):
            raise ValueError(f"{word}: expected OPTION=VALUE or {BIDIRECTIONAL} after the kind, got {text!r}")
    options = mixer_options(kind, [text for text in words if text != BIDIRECTIONAL])
    return kind_subject(kind, small=small_options(kind), causal=BIDIRECTIONAL not in words, **options)
