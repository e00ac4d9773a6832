"""`linsight check`: every verdict, breaches with evidence and replay, and a code that says if all is well."""

import json
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from linsight import mixers
from linsight.cli.main import main
from linsight.conformance import LAWS, our_subjects

Command = Callable[..., subprocess.CompletedProcess[str]]


def check(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """What `linsight check --json` found; JSON that is no JSON, such as NaN, is refused."""
    assert main(["check", *arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def verdict(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """The only verdict found."""
    (subject,) = check(capsys, *arguments, code=code)["subjects"]
    (found,) = subject["verdicts"]
    return found


def test_a_mixer_of_ours_through_the_real_entry_point(linsight: Command) -> None:
    done = linsight("check", "linear", "--quick")
    assert done.returncode == 0, done.stdout + done.stderr
    first, *lines, summary = done.stdout.strip().splitlines()
    assert first == "linear"
    assert [line.split()[0] for line in lines] == [law.name for law in LAWS.values() if law.quick]
    outcomes = Counter(line.split()[1] for line in lines)
    counts = f"{outcomes['kept']} laws kept, 0 broken, {outcomes['inapplicable']} say nothing; "
    assert summary.startswith(f"linear: {counts}")
    split = next(line for line in lines if line.split()[0] == "split")
    assert "kept" in split
    assert split.endswith("allowed 1e-10")


def test_a_breach_is_told_with_what_it_means(modules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "mine.py:hasty", "--law", "prefix", "--law", "split,scale"]) == 1
    printed = capsys.readouterr().out
    head, _, paragraph = printed.partition("prefix is broken\n")
    laws = [line.split()[:2] for line in head.splitlines()[1:4]]
    assert laws == [["prefix", "broken"], ["split", "inapplicable"], ["scale", "kept"]]
    assert "mine.py:hasty: 1 law kept, 1 broken, 1 says nothing; " in head
    words = " ".join(paragraph.split())
    assert "worst at [0, 0, " in words
    assert f"the law {LAWS['prefix'].statement}" in words
    assert f"the cost {LAWS['prefix'].breach}" in words
    assert paragraph.rstrip().endswith("replay    linsight check mine.py:hasty --law prefix --seed 0")


@pytest.mark.parametrize("effort", [[], ["--quick"]])
def test_the_replay_command_replays(
    effort: list[str], modules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with --quick, which draws other inputs, and for a name that needs quotes."""
    (modules / "mine.py").rename(modules / "not mine.py")
    found = verdict(
        capsys, "not mine.py:leaky", "--law", "causality", "--seed", "17", "--seeds", "2", *effort, code=1
    )
    assert found["seed"] == 17
    assert found["evidence"]["error"] > 0
    program, verb, *words = shlex.split(found["replay"])
    assert (program, verb) == ("linsight", "check")
    again = verdict(capsys, *words, code=1)
    assert again | {"seconds": 0} == found | {"seconds": 0}
    other = verdict(capsys, *(word for word in words if word != "--quick"), "--seed", "18", code=1)
    assert other["evidence"] != found["evidence"]


def test_seeds_count_from_the_first_and_stop_at_a_breach(
    modules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(capsys, "mine.py:rare", "--law", "causality", "--seeds", "4")
    for seeds in (["--seeds", "9"], ["--seed", "3", "--seeds", "2"]):
        assert verdict(capsys, "mine.py:rare", "--law", "causality", *seeds, code=1)["seed"] == 4


def test_quick_and_full_efforts_draw_other_inputs(modules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else --quick would not belong into a replay command."""
    full, quick = (
        verdict(capsys, "mine.py:leaky", "--law", "causality", *effort, code=1)
        for effort in ([], ["--quick"])
    )
    assert full["evidence"] != quick["evidence"]


def test_several_subjects_end_in_a_table(modules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subjects = ["mine.py:mean", "mine.py:hasty", "mine.py:tolerated", "mine.py:mean"]
    assert main(["check", *subjects, "--law", "prefix,split"]) == 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    table = lines[lines.index(["1", "2", "3"]) :]  # the subject named twice is checked once
    assert table[1:3] == [["prefix", "+", "X", "u"], ["split", ".", ".", "."]]
    assert table[4] == ["+", "kept,", "X", "broken,", "u", "unpromised,", ".", "inapplicable"]
    assert table[6:9] == [["1", "mine.py:mean"], ["2", "mine.py:hasty"], ["3", "mine.py:tolerated"]]
    total = "3 subjects: 1 law kept, 1 broken, 1 unpromised, 3 say nothing;"
    assert " ".join(table[-1]).startswith(total)


def test_a_long_table_goes_on_below(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--all", "--law", "refusals"]) == 0
    lines = capsys.readouterr().out.splitlines()
    header = next(index for index, line in enumerate(lines) if line.split()[:2] == ["1", "2"])
    table = lines[header : lines.index("  . inapplicable")]
    numbers = [word for line in table for word in line.split() if word.isdecimal()]
    assert numbers == [str(number) for number in range(1, len(our_subjects()) + 1)]
    marks = [mark for line in table if line.split()[:1] == ["refusals"] for mark in line.split()[1:]]
    assert marks == ["."] * len(our_subjects())
    assert max(map(len, table)) < 80


def test_what_was_never_promised_is_no_failure(modules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "mine.py:tolerated", "--law", "prefix"]) == 0
    printed = capsys.readouterr().out
    assert "0 broken, 1 unpromised" in printed
    assert "(lengths are <fixed>)" in printed
    assert "is broken" not in printed


def test_json_is_complete(modules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    laws = ["prefix", "split", "cost-growth"]
    found = check(capsys, "mine.py:hasty", "softmax", "--law", ",".join(laws), "--seeds", "2", code=1)
    assert list(found) == [
        *("linsight", "torch", "python", "machine", "seeds", "quick", "subjects", "html"),
    ]
    assert (found["seeds"], found["quick"], found["html"]) == ([0, 1], False, None)
    assert list(found["machine"]) == ["system", "processor", "instruction_set", "threads"]
    hasty, softmax = found["subjects"]
    assert (hasty["name"], softmax["name"]) == ("mine.py:hasty", "softmax")
    for subject in found["subjects"]:
        assert [entry["law"] for entry in subject["verdicts"]] == laws
        counts = Counter(entry["outcome"] for entry in subject["verdicts"])
        assert {name: number for name, number in subject["outcomes"].items() if number} == counts
        assert subject["seconds"] == pytest.approx(sum(entry["seconds"] for entry in subject["verdicts"]))
    assert [entry["outcome"] for entry in hasty["verdicts"]] == ["broken", "inapplicable", "measured"]
    assert list(hasty["verdicts"][0]) == [
        *("law", "outcome", "detail", "seed", "seconds", "evidence", "replay"),
    ]
    evidence = hasty["verdicts"][0]["evidence"]
    assert evidence["error"] > evidence["tolerance"] > 0
    assert len(evidence["index"]) == 3
    assert (softmax["verdicts"][1]["outcome"], softmax["verdicts"][1]["seed"]) == ("kept", 1)


def test_nan_in_the_evidence_is_text_in_json(modules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = verdict(capsys, "mine.py:spoiled", "--law", "prefix", code=1)
    assert found["evidence"]["error"] == "nan"
    assert found["evidence"]["got"] == "nan"


def test_all_of_ours_and_somebody_elses(modules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = check(capsys, "--all", "mine.py:mean", "--law", "refusals")
    assert [subject["name"] for subject in found["subjects"]] == ["mine.py:mean", *our_subjects()]


def test_options_are_written_into_the_name_and_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("linear", "--law", "padding", "--set", "feature_map=relu", "heads=4", "--bidirectional")
    (subject,) = check(capsys, *arguments)["subjects"]
    assert subject["name"] == "linear feature_map=relu heads=4 bidirectional"
    (found,) = subject["verdicts"]
    again = verdict(capsys, *shlex.split(found["replay"])[2:])
    assert again["detail"] == found["detail"]


def test_the_laws_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--laws"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    for law in LAWS.values():
        assert f"{law.name} {law.statement} A breach: {law.breach}" in words
    assert main(["check", "--laws", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [law["name"] for law in listed] == list(LAWS)
    assert listed[0]["tolerance"] == next(iter(LAWS.values())).tolerance


def test_a_page_is_written_and_named_last(modules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["check", "mine.py:hasty", "--law", "prefix", "--html", "page one.html"]
    assert main(command) == 1
    assert capsys.readouterr().out.endswith("\npage one.html\n")
    page = (modules / "page one.html").read_text()
    assert "Conformance: mine.py:hasty" in page
    assert "linsight check mine.py:hasty --law prefix --html &#39;page one.html&#39;" in page
    assert check(capsys, *command[1:], code=1)["html"] == "page one.html"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "missing SUBJECT: expected a kind of mixer, FILE.py:FACTORY or --all"),
        ("lineer", "unknown subject 'lineer'; did you mean 'linear'?"),
        ("xyz", f"unknown subject 'xyz'; expected FILE.py:FACTORY or one of {', '.join(mixers.kinds())}"),
        ("linear --law spilt", "unknown law 'spilt'; did you mean 'split'?"),
        ("linear --law xyz", "unknown law 'xyz'; linsight check --laws lists them"),
        ("no.py:one", "no.py: no such file"),
        ("mine.py", "mine.py: expected FILE.py:FACTORY, got no factory"),
        ("mine.py:asks", "mine.py: asks must take no arguments, and asks for size"),
        (
            "'linear causal'",
            "linear causal: expected OPTION=VALUE or bidirectional after the kind, got 'causal'",
        ),
        ("softmax --set head=2", "mixer 'softmax' has no option 'head'; it has heads, positions, form"),
        ("softmax --set dim=2", "mixer 'softmax' has no option 'dim'; it has heads, positions, form"),
        ("linear --set heads=two", "heads: expected a valid integer, got 'two'"),
        ("linear --set normalise=maybe", "normalise: expected a valid boolean, got 'maybe'"),
        ("linear --set heads=3", "mixer 'linear': dim 8 is not divisible by heads 3; use dim 6 or 9"),
        ("softmax --set positions=both", "positions: expected 'none' or 'rotary', got 'both'"),
        ("linear --set heads", "--set: expected OPTION=VALUE, got 'heads'"),
        ("mine.py:mean --set heads=2", "--set: expected a kind of mixer to change, got 'mine.py:mean'"),
        (
            "mine.py:mean --bidirectional",
            "--bidirectional: expected a kind of mixer to change, got 'mine.py:mean'",
        ),
        (
            "--all --bidirectional",
            "--bidirectional: expected a kind of mixer to change, got --all, which has all variants",
        ),
        (
            "--all --set heads=2",
            "--set: expected a kind of mixer to change, got --all, which has all variants",
        ),
        ("linear --seeds 0", "--seeds: expected at least 1, got 0"),
        ("linear --html no/page.html", "--html: expected a file in a folder that exists, got 'no/page.html'"),
    ],
)
def test_a_mistake_is_two_and_one_line(
    line: str, message: str, modules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *shlex.split(line)]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"linsight: {message}\n")


def test_a_file_without_the_factory_says_what_it_has(
    modules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "mine.py:median"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("linsight: mine.py: no function 'median'; it defines ")
    assert " mean, hasty, leaky," in message


def test_what_cannot_be_checked_is_told_how_to_be(modules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "mine.py:bare"]) == 2
    assert capsys.readouterr().err.endswith(
        "got Identity; wrap it: linsight.conformance.Whole(module, dim)\n"
    )


def test_a_factory_that_fails_is_a_failure(modules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "mine.py:fails"]) == 1
    assert capsys.readouterr().err == "linsight: no weights here (--debug shows where)\n"


def test_help_and_mistakes_do_not_wait_for_torch() -> None:
    code = (
        "import sys; from linsight.cli.main import main; main(['check', '--help']); main(['check']); "
        "print([name for name in ('torch', 'numpy', 'linsight.conformance') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "--bidirectional" in done.stdout
    assert done.stdout.endswith("\n[]\n")


def test_subjects_are_shared_among_processes_and_come_in_order(
    modules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same verdicts as in one process, in the order asked for; a breach in another process counts."""
    line = ("mine.py:mean", "linear", "mine.py:leaky", "--law", "causality,prefix", "--quick")

    def outcomes(*jobs: str) -> list:
        found = check(capsys, *line, *jobs, code=1)["subjects"]
        return [(s["name"], [(v["law"], v["outcome"], v["detail"]) for v in s["verdicts"]]) for s in found]

    assert outcomes("--jobs", "2") == outcomes("--jobs", "1")
    assert main(["check", *line, "--jobs", "2"]) == 1
    printed = capsys.readouterr().out
    assert printed.index("mine.py:mean: ") < printed.index("linear: ") < printed.index("mine.py:leaky: ")


def test_less_than_one_process_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "linear", "--jobs", "0"]) == 2
    assert "--jobs: expected at least 1, got 0" in capsys.readouterr().err
