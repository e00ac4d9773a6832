"""`linsight sample` of a language model: the text, its prompt, its seed, and what it has no use for."""

import json
import re
from pathlib import Path

import pytest
from filelock import FileLock

from linsight.cli.main import main


@pytest.fixture(scope="session")
def writer(shared: Path) -> Path:
    """A run of three steps on a text of its own."""
    folder, text = shared / "writer", shared / "own.txt"
    with FileLock(shared / "writer.lock"):
        if not (folder / "model" / "model.safetensors").exists():
            text.write_text("all work and no play makes jack a dull boy\n" * 60)
            line = ["--preset", "tiny", "--text", str(text), "--training.steps", "3", "--progress", "none"]
            assert main(["train", "language", *line, "--run", str(folder)]) == 0
    return folder


def drawn(writer: Path, capsys: pytest.CaptureFixture[str], *line: str) -> dict:
    capsys.readouterr()
    assert main(["sample", str(writer), "--json", *line]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_text_begins_with_its_prompt_and_has_the_length_asked_for(writer, capsys):
    found = drawn(writer, capsys, "-n", "20", "--prompt", "jack")
    assert found["text"].startswith("jack")
    assert found["bytes"] == 20
    assert found["state_bytes"] > 0
    assert found["ms_per_byte"] > 0


def test_the_seed_decides_the_text(writer, capsys):
    first, again, other = (drawn(writer, capsys, "-n", "30", "--seed", seed)["text"] for seed in "112")
    assert first == again != other


def test_a_text_goes_to_the_terminal_or_to_a_file_as_bytes(writer, capsys, tmp_path):
    capsys.readouterr()
    assert main(["sample", str(writer), "-n", "5", "--prompt", "ab"]) == 0
    printed, said = capsys.readouterr()
    assert printed.startswith("ab")
    assert said.startswith("5 bytes, ")
    out = tmp_path / "x.txt"
    assert main(["sample", str(writer), "-n", "5", "--prompt", "ab", "--out", str(out)]) == 0
    assert len(out.read_bytes()) == 7
    assert capsys.readouterr().out.strip() == str(out)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--label 3", "--label: .* draws a text, and has no use for it"),
        ("--inpaint 0.5", "--inpaint: .* draws a text, and has no use for it"),
        ("--out x.png", "--out: .* draws a text, got 'x.png'"),
    ],
)
def test_what_only_images_have_is_refused(writer, capsys, line, message):
    assert main(["sample", str(writer), *line.split()]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_images_have_no_prompt(trained, capsys):
    assert main(["sample", str(trained), "--prompt", "a"]) == 2
    assert "--prompt: " in capsys.readouterr().err
