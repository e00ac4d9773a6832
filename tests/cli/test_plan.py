"""`linsight plan`: amounts, the table, JSON, what is refused."""

import json

import pytest

from linsight.cli.amounts import amount, count, in_bytes
from linsight.cli.main import main

SMALL = ["--layers", "3", "--dim", "64", "--length", "4096", "--batch", "8", "--devices", "4"]


def planned(capsys, *words):
    assert main(["plan", *SMALL, *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64", 64),
        ("1e6", 10**6),
        ("1_000_000", 10**6),
        ("1M", 10**6),
        ("1.3B", 1_300_000_000),
        ("1.3e9", 1_300_000_000),
        ("2.5k", 2500),
        ("7G", 7 * 10**9),
        ("1.2T", 12 * 10**11),
        (" 5e+2 ", 500),
    ],
)
def test_amounts_are_read_as_people_write_them(text, value):
    assert count("--x", text) == value
    assert amount("--x", text) == value


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "0", "1.5", "1e-3", "1.3333333333B", "1 M", "1MM", "inf", "nan", "e6", "_1"]
)
def test_what_is_no_count_is_refused_with_the_flag(text):
    with pytest.raises(ValueError, match=r"--length: expected a whole number such as .*, got '"):
        count("--length", text)


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "0.0e9", "inf", "nan"])
def test_what_is_no_amount_is_refused_with_the_flag(text):
    with pytest.raises(ValueError, match=r"--memory: expected a number above 0 such as .*, got '"):
        amount("--memory", text)
    assert amount("--memory", "0.5") == 0.5


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (12_345_678, "12.3 MB"),
        (5_200_000_000, "5.20 GB"),
        (10**18, "1000 PB"),
        (9.995e9, "9.99 GB"),
        (9.996e9, "10.0 GB"),
    ],
)
def test_sizes_have_three_digits_and_a_unit(size, text):
    assert in_bytes(size) == text


def test_the_table_has_a_column_for_each_strategy_and_says_what_is_left_out(capsys):
    assert main(["plan", *SMALL, "--mixer", "mamba2", "--memory", "1G", "--bandwidth", "1e9"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("mamba2: ")
    assert said[0].endswith("3 blocks of width 64, bfloat16")
    assert said[1] == "8 rows of 4,096 tokens in a step, 4 devices"
    assert said[3].split("  ")[0] == "one device"
    assert said[3].split()[2:] == ["ddp", "fsdp", "sequence", "ring", "attention"]
    titles = [line.split("  ")[0] for line in said[4:] if line and not line.startswith(" ")]
    assert titles[:5] == [
        "it holds",
        "it sends in a step",
        "all devices send for a token",
        "seconds of sending",
        "devices of 1.00 GB",
    ]
    assert "sequence sends less than ring attention from rows of" in said[-4]
    assert said[-3].startswith("Left out: embedding, head and loss")
    assert "cannot be dealt out evenly" not in "".join(said)


def test_json_holds_the_sums_of_its_parts(capsys):
    found = planned(
        capsys, "--mixer", "linear heads=2", "--params", "1.3B", "--bandwidth", "2e9", "--memory", "1e12"
    )
    assert found["network"]["params"] == 1_300_000_000
    assert found["network"]["piece"] == {"written": 2 * 32 * 33 * 4, "transition": 0, "margin": 0}
    assert list(found["strategies"]) == ["ddp", "fsdp", "sequence", "ring attention"]
    for strategy in found["strategies"].values():
        assert strategy["held"] == sum(strategy["holds"].values())
        assert strategy["sent"] == sum(strategy["sends"].values())
        assert strategy["seconds"] == strategy["sent"] / 2e9
        assert strategy["sent_by_all_per_token"] == strategy["sent"] * 4 / (8 * 4096)
        assert strategy["devices_needed"] == 1
    assert found["strategies"]["ddp"]["holds"]["weights"] == 4 * 1_300_000_000
    assert found["strategies"]["sequence"]["sends"]["states, all-gather"] == 2 * 3 * 3 * 8 * 8448
    keys_values = 8 * 1024 * 2 * 64 * 2
    assert found["strategies"]["ring attention"]["sends"]["keys and values, ring"] == 3 * 2 * 3 * keys_values
    assert found["refused"] == {}


def test_what_is_not_asked_for_is_not_there(capsys):
    found = planned(capsys, "--mixer", "linear")
    assert {"seconds", "devices_needed"} & found["strategies"]["ddp"].keys() == set()


@pytest.mark.parametrize(
    ("kind", "mlp_dim"), [("linear", 96), ("linear", None), ("mamba2", None), ("rwkv7", None)]
)
def test_weights_that_are_not_given_are_those_of_a_stack(kind, mlp_dim, capsys):
    """A feed-forward network is twice as wide as the tokens if not said otherwise."""
    from linsight import mixers
    from linsight.models.sequence import SequenceConfig, Stack

    config = SequenceConfig(dim=64, layers=3, mlp_dim=mlp_dim or 128, mixers=(mixers.config(kind),))
    expected = sum(weight.numel() for weight in Stack(config).parameters())
    words = [] if mlp_dim is None else ["--mlp-dim", str(mlp_dim)]
    found = planned(capsys, "--mixer", kind, *words)
    assert found["network"]["params"] == expected


def test_precision_changes_tokens_and_not_weights(capsys):
    half, full = (
        planned(capsys, "--mixer", "linear", "--precision", name) for name in ("bfloat16", "float32")
    )
    assert half["network"]["kept"] < full["network"]["kept"]
    assert 2 * half["network"]["kept"] > full["network"]["kept"] / 2
    one, two = (found["strategies"]["ring attention"] for found in (half, full))
    assert two["sends"]["keys and values, ring"] == 2 * one["sends"]["keys and values, ring"]
    assert two["holds"]["weights"] == one["holds"]["weights"]


def test_a_mixer_without_pieces_has_no_column_and_a_reason(capsys):
    assert main(["plan", *SMALL, "--mixer", "softmax"]) == 0
    said = capsys.readouterr().out
    assert "sequence: mixer: expected one of linear, retnet" in said
    assert "got 'softmax', whose state is every key and value" in said
    assert "sequence sends less" not in said
    found = planned(capsys, "--mixer", "softmax")
    assert list(found["strategies"]) == ["ddp", "fsdp", "ring attention"]
    assert found["refused"].keys() == {"sequence"}
    assert found["crossover_length"] is None


def test_fewer_tokens_than_devices_are_told(capsys):
    found = planned(capsys, "--length", "3")
    assert found["refused"].keys() == {"sequence", "ring attention"}
    assert "at most one for each of 3 tokens, got 4" in found["refused"]["sequence"]


def test_rows_that_cannot_be_dealt_out_are_told(capsys):
    assert main(["plan", *SMALL, "--batch", "9", "--mixer", "linear"]) == 0
    assert (
        "9 rows cannot be dealt out evenly; the figures are of a device with 3 rows"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "missing --length|--devices"),
        (["--length", "many", "--devices", "4"], "--length: expected a whole number such as"),
        (["--length", "1M", "--devices", "0"], "--devices: expected a whole number such as"),
        (["--length", "1M", "--devices", "4", "--params", "x"], "--params: expected a whole number"),
        (["--length", "1M", "--devices", "4", "--mlp-dim", "0"], "--mlp-dim: expected a whole number"),
        (["--length", "1M", "--devices", "4", "--memory", "big"], "--memory: expected a number above 0"),
        (["--length", "1M", "--devices", "4", "--bandwidth", "0"], "--bandwidth: expected a number above 0"),
        (["--length", "1M", "--devices", "4", "--mixer", "mamba3"], "mixer 'mamba3' is not known"),
        (["--length", "1M", "--devices", "4", "--mixer", "linear heads=x"], "heads: expected"),
        (["--length", "1M", "--devices", "4", "--dim", "7", "--mixer", "linear"], "heads"),
        (["--length", "1M", "--devices", "4", "--mixer", "linformer"], "never causal"),
        (
            ["--length", "1M", "--devices", "4", "--precision", "int8"],
            "invalid choice 'int8' for argument '--precision'",
        ),
        (["--lenght", "1M", "--devices", "4"], "missing --length"),
    ],
)
def test_a_mistake_is_one_line(words, message, capsys):
    assert main(["plan", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert any(part in said.err for part in message.split("|")), said.err


def test_help(capsys):
    assert main(["plan", "--help"]) == 0
    said = capsys.readouterr().out
    assert "--bandwidth" in said
    assert "Nothing is trained or timed" in said
