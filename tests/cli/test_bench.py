"""`linsight bench mixers`: the page, the table, the numbers, and what is refused."""

import json

import pytest

from linsight.cli.main import main
from linsight.profiling.peers import PEERS

SMALL = ["--lengths", "1,32,64", "--dim", "64", "--seconds", "0.001"]


def test_the_folder_holds_page_table_figures_and_numbers(tmp_path, capsys):
    out = tmp_path / "costs"
    code = main(["bench", "mixers", "--mixers", "linear,gau", *SMALL, "--out", str(out)])
    printed = capsys.readouterr().out.splitlines()
    assert code == 0
    assert printed[-1] == str(out / "report.html")
    assert [line.split()[0] for line in printed[1:4]] == ["softmax", "linear", "gau"]
    page = (out / "report.html").read_text()
    assert "How cost grows with the length" in page
    assert "linsight bench mixers --mixers linear,gau" in page
    assert (out / "figures" / "forward_time.png").read_bytes().startswith(b"\x89PNG")
    assert "| linear |" in (out / "tables.md").read_text()
    numbers = json.loads((out / "numbers.json").read_text())
    assert [costs["name"] for costs in numbers["found"]][:3] == ["softmax", "linear", "gau"]
    assert all(len(costs["step_ms"]) == 3 for costs in numbers["found"][:3])


def test_peers_that_are_not_installed_are_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(PEERS, "performer-pytorch", "no_such_module")
    assert main(["bench", "mixers", "--mixers", "linear", *SMALL, "--out", str(tmp_path)]) == 0
    assert "performer-pytorch was not measured: it does not import here" in capsys.readouterr().out


def test_mixers_that_see_all_tokens_have_no_steps(tmp_path, capsys):
    line = ["--mixers", "linformer", "--bidirectional", "--without-peers", "--json", "--out", str(tmp_path)]
    assert main(["bench", "mixers", *SMALL, *line]) == 0
    found = json.loads(capsys.readouterr().out)["found"]
    assert [costs["name"] for costs in found] == ["softmax", "linformer"]
    assert found[1]["step_ms"] == [None, None, None]


def test_a_mixer_that_breaks_a_law_has_no_speed(tmp_path, capsys, monkeypatch):
    from linsight.mixers.linear import LinearAttention

    honest = LinearAttention.mix

    def leaky(self, x, state, valid):
        y, state = honest(self, x, state, valid)
        return y + x.mean(), state

    monkeypatch.setattr(LinearAttention, "mix", leaky)
    assert main(["bench", "mixers", "--mixers", "linear", *SMALL, "--out", str(tmp_path)]) == 1
    assert "linear: breaks " in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "expected mixers or kernels, got nothing"),
        ("ops", "expected mixers or kernels, got 'ops'"),
        ("mixers --mixers lineer", "mixer 'lineer' is not known; choose one of"),
        ("mixers --mixers linformer", "never causal|every projected key"),
        ("mixers --lengths 4,x", "--lengths: expected whole numbers with commas between, got '4,x'"),
        ("mixers --lengths 0,4", "--lengths: expected at least 1 token, got 0"),
        ("mixers --dim 100", "--dim: expected a multiple of 64, the width of a head, got 100"),
        ("mixers --seconds 0", "--seconds: expected a number above 0, got 0.0"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_line(line, message, capsys):
    assert main(["bench", *line.split()]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert any(part in error for part in message.split("|")), error
