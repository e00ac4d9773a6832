"""The dispatcher: what it prints, and which exit code every outcome has."""

import subprocess
import sys
import types

import pytest

from linsight.cli import main as dispatcher
from linsight.cli.main import VERBS, Verb, main

KNOWN = (
    "train, evaluate, sample, predict, calibrate, compress, decompress, check, compare, bench, plan, "
    "explain, doctor"
)


def verb(monkeypatch: pytest.MonkeyPatch, body: str, *, module: str = "linsight.cli.pretend") -> None:
    """Make `linsight pretend` run this body, as if it stood in a module of that name."""
    fake = types.ModuleType(module)
    exec(compile(f"def run(arguments):\n    {body}", module, "exec"), fake.__dict__)
    monkeypatch.setitem(sys.modules, module, fake)
    monkeypatch.setitem(VERBS, "pretend", Verb(module, "pretend", "a verb of this test"))


def test_help_lists_every_verb_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for known in VERBS.values():
        assert known.usage in printed
        assert known.help in printed


@pytest.mark.parametrize("arguments", [[], ["-h"], ["help"]])
def test_no_verb_means_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert "linsight train TASK" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import linsight

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"linsight {linsight.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["trian"], "linsight: unknown verb 'trian'; did you mean 'linsight train'?\n"),
        (["xyz"], f"linsight: unknown verb 'xyz'; verbs: {KNOWN}\n"),
        (["--jsn"], f"linsight: unknown option '--jsn'; verbs: {KNOWN}\n"),
    ],
)
def test_an_unknown_verb_is_two_and_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", line)


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        ("return 0", 0, ""),
        ("raise ValueError('mixer: expected a, got b')", 2, "linsight: mixer: expected a, got b\n"),
        ("raise TypeError('x: expected a tensor')", 2, "linsight: x: expected a tensor\n"),
        ("raise ImportError('pip install linsight[demo]')", 2, "linsight: pip install linsight[demo]\n"),
        ("open('no-such-file')", 2, "linsight: no-such-file: No such file or directory\n"),
        ("raise ValueError('two\\n  lines')", 2, "linsight: two lines\n"),
        ("raise RuntimeError('x.safetensors: damaged')", 1, "linsight: x.safetensors: damaged\n"),
        ("raise OSError(28, 'No space left on device', 'f')", 1, "linsight: f: No space left on device\n"),
        ("{}['a']", 1, "linsight: KeyError: 'a' (--debug shows where)\n"),
        ("raise KeyboardInterrupt", 130, "linsight: interrupted\n"),
        ("raise SystemExit(0)", 0, ""),
    ],
)
def test_exceptions_become_exit_codes_and_one_line(
    body: str, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verb(monkeypatch, body)
    assert main(["pretend"]) == code
    assert capsys.readouterr().err == line


def test_a_value_error_of_another_library_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only what linsight itself refuses is the user's mistake; the rest may be a bug of ours."""
    verb(monkeypatch, "import json; json.loads('{')")
    assert main(["pretend"]) == 1
    assert capsys.readouterr().err.startswith("linsight: JSONDecodeError: Expecting property name")


def test_an_interruption_may_bring_its_own_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verb(
        monkeypatch,
        "from linsight.training.interrupts import Interrupted; raise Interrupted('stopped after step 3', 15)",
    )
    assert main(["pretend"]) == 143
    assert capsys.readouterr().err == "linsight: stopped after step 3\n"


@pytest.mark.parametrize("arguments", [["--debug", "pretend"], ["pretend", "--debug"]])
def test_debug_anywhere_adds_the_traceback(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verb(monkeypatch, "raise ValueError('wrong', arguments)")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "Traceback (most recent call last)" in error
    assert error.endswith("linsight: ('wrong', [])\n")


def test_a_reader_who_leaves_early_gets_no_traceback() -> None:
    code = (
        "import sys; from linsight.cli.main import main, VERBS, Verb; import linsight.cli as cli; "
        "sys.stdout.reconfigure(line_buffering=True); "
        "import types; m = types.ModuleType('linsight.cli.p'); "
        "m.run = lambda a: [print('x' * 100) for _ in range(10**4)] and 0; "
        "sys.modules['linsight.cli.p'] = m; VERBS['p'] = Verb('linsight.cli.p', 'p', ''); "
        "sys.exit(main(['p']))"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout
    assert writer.stderr
    writer.stdout.readline()
    writer.stdout.close()
    assert writer.wait(timeout=60) == 1
    assert writer.stderr.read() == b""
    writer.stderr.close()


def test_every_verb_has_a_module_with_run() -> None:
    import importlib

    for known in dispatcher.VERBS.values():
        assert callable(importlib.import_module(known.module).run)
