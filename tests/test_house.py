"""The rules of the house: sizes, shapes of files, imports, and a README that says what is there."""

import ast
import doctest
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "linsight"
FOLDERS = ("src", "tests", "tools", "benchmarks", "docs")


def _under_folders(pattern: str) -> list[Path]:
    found = [file for folder in FOLDERS for file in (ROOT / folder).rglob(pattern)]
    return sorted(file for file in found if "_build" not in file.parts)


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT))


TEXTS = {file: file.read_text(encoding="utf-8") for file in _under_folders("*.py")}
PACKAGE = {file: text for file, text in TEXTS.items() if file.is_relative_to(SOURCE)}
INITS = {file: text for file, text in PACKAGE.items() if file.name == "__init__.py" and file.parent != SOURCE}
AT_THE_ROOT = ("*.md", "*.toml", "Makefile", ".ci/run", ".*.yaml", "LICENSE-DATA")
PROSE = [*_under_folders("*.md"), *(file for pattern in AT_THE_ROOT for file in ROOT.glob(pattern))]


def test_no_file_is_longer_than_500_lines() -> None:
    """A file is one concept; kernels alone may be longer."""
    lengths = {
        _name(file): len(text.splitlines()) for file, text in TEXTS.items() if "kernels" not in file.parts
    }
    assert {name: length for name, length in lengths.items() if length > 500} == {}


def test_a_module_docstring_is_one_sentence_on_one_line() -> None:
    found = {_name(file): ast.get_docstring(ast.parse(text), clean=False) for file, text in PACKAGE.items()}
    wrong = {name: text for name, text in found.items() if not text or "\n" in text or not text.endswith(".")}
    assert wrong == {}


def test_an_init_holds_only_reexports_and_all() -> None:
    """The package's root alone is more: its version, and the loader that keeps `import linsight` quick.

    Where something of a package does without torch and the rest does not, its re-exports are lazy.
    """
    others = [
        f"{_name(file)}:{statement.lineno}"
        for file, text in INITS.items()
        for statement in ast.parse(text).body[1:]
        if not _is_reexport(statement)
    ]
    assert others == []


def _is_reexport(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.ImportFrom):
        return statement.level == 0
    if ast.unparse(statement) == "__getattr__ = reexports(__name__)":
        return True
    if isinstance(statement, ast.If):
        return ast.unparse(statement.test) == "TYPE_CHECKING" and all(map(_is_reexport, statement.body))
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [getattr(target, "id", None) for target in targets] == ["__all__"]


def test_all_lists_exactly_what_an_init_reexports() -> None:
    for file, text in INITS.items():
        body = ast.parse(text).body
        lazy = [node.body for node in body if isinstance(node, ast.If)]
        imports = lazy[0] if lazy else body
        imported = {alias.asname or alias.name for node in imports for alias in getattr(node, "names", [])}
        module = importlib.import_module(".".join(file.parent.relative_to(ROOT / "src").parts))
        assert set(module.__all__) == imported, _name(file)
        assert len(module.__all__) == len(set(module.__all__)), f"{_name(file)}: a name twice"


LAZY = [file.parent.name for file, text in INITS.items() if "reexports(__name__)" in text]


@pytest.mark.parametrize("name", LAZY)
def test_a_lazy_package_gives_what_an_eager_one_would(name: str) -> None:
    """And no re-export has the name of a submodule: importing that would hide it."""
    package = importlib.import_module(f"linsight.{name}")
    body = ast.parse(INITS[SOURCE / name / "__init__.py"]).body
    block = next(node for node in body if isinstance(node, ast.If))
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        origin = importlib.import_module(str(node.module))
        assert all(getattr(package, alias.name) is getattr(origin, alias.name) for alias in node.names)
    inside = {path.stem for path in (SOURCE / name).iterdir() if path.suffix == ".py" or path.is_dir()}
    assert inside.isdisjoint(package.__all__)
    with pytest.raises(AttributeError, match=f"module 'linsight.{name}' has no attribute 'nothing'"):
        _ = package.nothing


def test_nothing_names_a_machine_or_leaves_a_loose_end() -> None:
    """No path of somebody's machine, and no mark of unfinished work without the number of an issue."""
    # In two pieces each, so that this file does not find itself.
    paths = "|".join(("/wor" + "k/", "/roo" + "t/", "/hom" + "e/", "/tm" + "p/", "/opt/py" + "pi"))
    marks = "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X"))
    pattern = re.compile(rf"(?<![\w.])(?:{paths})|\b(?:{marks})\b(?!\(#\d+\))")
    texts = TEXTS | {file: file.read_text(encoding="utf-8") for file in PROSE}
    found = {_name(file): match.group() for file, text in texts.items() if (match := pattern.search(text))}
    assert found == {}


def test_annotations_are_evaluated() -> None:
    """`from __future__ import annotations` turns shape annotations into strings that nothing checks."""
    assert [_name(file) for file, text in PACKAGE.items() if "from __future__" in text] == []


def test_no_jaxtyping_decorator_in_the_source() -> None:
    """Decorated functions cannot be compiled by torch; pytest's import hook does the checking."""
    assert [_name(file) for file, text in PACKAGE.items() if "@jaxtyped" in text] == []


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import linsight", ["torch", "numpy", "lightning", "matplotlib"]),
        (
            "from linsight.cli.main import main; main(['--help'])",
            ["torch", "numpy", "tyro", "rich", "lightning"],
        ),
        ("from linsight.cli.main import main; main(['--version'])", ["torch", "numpy", "tyro", "rich"]),
        (
            "import linsight; linsight.mixers, linsight.models, linsight.tasks",
            ["lightning", "pydantic", "torch._dynamo"],
        ),
        ("import linsight; linsight.training", ["lightning", "tyro", "rich"]),
        (
            "import linsight as l; l.metrics.average_precision, l.tasks.exhibits.Table, l.reports.numbers",
            ["torch", "scipy", "matplotlib"],
        ),
    ],
    ids=["import", "help", "version", "library", "training", "lazy packages"],
)
def test_what_is_slow_to_import_waits_until_it_is_needed(statement: str, absent: list[str]) -> None:
    show = f"print([name for name in {absent} if name in sys.modules], file=sys.stderr)"
    code = f"import sys; {statement}; {show}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]"


def test_the_lazy_root_offers_every_subpackage() -> None:
    import linsight

    folders = {file.parent.name for file in SOURCE.glob("*/__init__.py")} - {"cli"}
    assert set(linsight.__all__) == folders
    assert all(getattr(linsight, name).__name__ == f"linsight.{name}" for name in linsight.__all__)
    with pytest.raises(AttributeError, match="module 'linsight' has no attribute 'mixer'"):
        _ = linsight.mixer


def test_the_contract_of_independent_mixers_names_every_mixer() -> None:
    """A new mixer that is not listed in pyproject.toml could import another unseen."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {contract["id"]: contract for contract in settings["tool"]["importlinter"]["contracts"]}
    table = (SOURCE / "mixers" / "build.py").read_text(encoding="utf-8")
    mixers = set(re.findall(r"^from linsight\.mixers\.(\w+) import", table, flags=re.M)) - {"base"}
    assert set(contracts["mixers"]["modules"]) == {f"linsight.mixers.{name}" for name in mixers}


@pytest.mark.parametrize("file", [file for file, text in PACKAGE.items() if ">>>" in text], ids=_name)
def test_examples_in_docstrings_print_what_they_say(file: Path) -> None:
    name = ".".join(file.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert tried, "no example was found"
    assert not failed


def _readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_example_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    example = re.search(r"```python\n(.*?)```\n+```text\n(.*?)```", _readme(), re.DOTALL)
    assert example, "README.md: expected a python block followed by a text block"
    exec(compile(example[1], "README.md", "exec"), {})
    assert capsys.readouterr().out == example[2]


def test_the_readme_tree_is_the_tree() -> None:
    """Every line names something that is there, and every folder and file at the two levels has a line."""
    block = re.search(r"<!-- tree -->\n```text\n(.*?)```", _readme(), re.DOTALL)
    assert block, "README.md: expected the tree between its marks"
    named, parents = set(), [ROOT]
    for line in block[1].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        entry = line.split()[0]
        path = parents[depth] / entry.rstrip("/")
        assert path.exists(), f"README.md: {entry} is not there"
        assert path.is_dir() == entry.endswith("/"), f"README.md: {entry}"
        named.add(path)
        parents[depth + 1 :] = [path]
    expected = {file.parent for file in SOURCE.glob("*/__init__.py")}
    expected |= {path for path in SOURCE.iterdir() if path.suffix == ".py" and path.name != "__init__.py"}
    expected |= {ROOT / folder for folder in FOLDERS}
    assert expected <= named, f"README.md: no line for {sorted(map(_name, expected - named))}"
