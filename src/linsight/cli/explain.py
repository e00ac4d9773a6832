"""`linsight explain`: what optimisers do and what metrics mean, shown by what is computed here and now."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from linsight.cli.parsing import parse
from linsight.cli.train import parsed

__all__ = ["AdamW", "Groups", "Map", "run"]

TOPICS = {
    "adamw": "what decay does in Adam and in AdamW, by two experiments",
    "map": "four protocols of average precision on one worked example",
    "groups": "who is decayed, and who learns more slowly, in a run or a preset",
}


@dataclass(frozen=True)
class AdamW:
    """What `linsight explain adamw` takes."""

    heatmap: bool = False
    """Also train a small network with every learning rate and decay of three grids: about a minute."""
    out: Path = Path("runs/explain-adamw")
    """Folder of the page, the figures and the numbers."""
    json: bool = False
    """Print the numbers as JSON."""


@dataclass(frozen=True)
class Map:
    """What `linsight explain map` takes."""

    out: Path = Path("runs/explain-map")
    """Folder of the page, the figures and the numbers."""
    json: bool = False
    """Print the numbers as JSON."""


@dataclass(frozen=True)
class Groups:
    """What `linsight explain groups RUN` takes, RUN being a run's folder or its config.json."""

    json: bool = False
    """Print the groups as JSON, with the names of their parameters."""


def run(arguments: Sequence[str]) -> int:
    """Explain; prints the path of the page last, or the table of groups."""
    topics = "\n".join(f"  {name}: {text}" for name, text in TOPICS.items())
    if arguments and arguments[0] in ("-h", "--help"):
        print(f"usage: linsight explain TOPIC [options]\n\n{topics}")
        return 0
    if not arguments or arguments[0] not in TOPICS:
        given = repr(arguments[0]) if arguments else "nothing"
        print(f"linsight explain: expected one of {', '.join(TOPICS)}, got {given}", file=sys.stderr)
        return 2
    topic, *rest = arguments
    if topic == "groups":
        return _groups(rest)
    if topic == "map":
        shown = parse(Map, rest, prog="linsight explain map", description=f"Show {TOPICS['map']}.")
        from linsight.cli.explaining import explain_map

        explain_map(shown.out, as_json=shown.json, command=["linsight", "explain", *arguments])
        return 0
    options = parse(AdamW, rest, prog="linsight explain adamw", description=f"Show {TOPICS['adamw']}.")
    from linsight.cli.explaining import explain_adamw

    explain_adamw(
        options.out,
        heatmap=options.heatmap,
        as_json=options.json,
        command=["linsight", "explain", *arguments],
    )
    return 0


def _groups(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0].startswith("-"):
        if arguments and arguments[0] in ("-h", "--help"):
            print(
                "usage: linsight explain groups RUN|CONFIG [--json]\n"
                "       linsight explain groups TASK [options of linsight train TASK]"
            )
            return 0
        given = repr(arguments[0]) if arguments else "nothing"
        raise ValueError(f"explain groups: expected a run, a config.json or a task, got {given}")
    what, *rest = arguments
    verb, description = "explain groups", f"Show {TOPICS['groups']}."
    if Path(what).exists():
        options = parse(Groups, rest, prog=f"linsight {verb}", description=description)
        from linsight.cli.explaining import explain_groups, recorded

        config = recorded(Path(what))
    else:
        options, config = parsed(what, rest, verb=verb, description=description)
        from linsight.cli.explaining import explain_groups
    print(explain_groups(config, as_json=options.json))
    return 0
