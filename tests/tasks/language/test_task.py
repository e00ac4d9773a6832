"""The language task: windows that tile the text, bits of an untrained model, and what it refuses."""

from math import log

import numpy as np
import pytest
import torch

from linsight.data import read_text_split
from linsight.mixers import config as mixer
from linsight.models.sequence import SequenceConfig, TokenModelConfig
from linsight.tasks.language import LanguageConfig

TEXT = bytes(range(32, 127)) * 30


@pytest.fixture
def task(tmp_path):
    def build(kind="linear", content=TEXT, **options):
        (tmp_path / "own.txt").write_bytes(content)
        sequence = SequenceConfig(dim=8, layers=1, mlp_dim=8, mixers=(mixer(kind, heads=2),))
        options = {"length": 16, "validate_bytes": 100, "sample_bytes": 20, **options}
        config = LanguageConfig(
            text=str(tmp_path / "own.txt"), model=TokenModelConfig(sequence=sequence), **options
        )
        return config.build()

    return build


def test_the_windows_of_an_epoch_are_the_text_once_over(task):
    built = task()
    seen = set()
    for epoch in range(6):
        windows = built.batch(np.arange(built.num_examples), seed=0, epoch=epoch)["tokens"].numpy()
        row = windows[:, :-1].ravel().astype(np.uint8).tobytes()
        start = built.bytes.tobytes().index(row)
        assert start < 16
        assert len(row) == 16 * built.num_examples
        assert len(built.bytes) - len(row) <= 2 * 16
        assert (windows[:-1, -1] == windows[1:, 0]).all()
        seen.add(start)
    assert len(seen) > 2


def test_a_batch_is_a_function_of_its_indices(task):
    built = task()
    whole = built.batch(np.arange(20), seed=3, epoch=2)["tokens"]
    assert (built.batch(np.array([11]), seed=3, epoch=2)["tokens"][0] == whole[11]).all()


@pytest.mark.parametrize("kind", ["linear", "softmax"])
def test_an_untrained_model_costs_eight_bits(task, kind):
    """Its logits are equal; only a state that does not grow is carried through the text."""
    built = task(kind)
    model = built.build_model()
    batch = built.batch(np.arange(4), seed=0, epoch=0)
    loss, logs = built.loss(model, batch)
    assert loss.item() == pytest.approx(log(256))
    assert logs["bits_per_byte"].item() == pytest.approx(8)
    assert built.validate(model) == {"bits_per_byte": pytest.approx(8)}
    found = built.evaluate(model, "test", device=torch.device("cpu"))
    assert found.metrics["bits_per_byte"] == pytest.approx(8)
    assert ("bits_per_byte_in_windows" in found.metrics) == (kind == "linear")
    table, curve, *samples = found.exhibits
    assert curve.series["this run"][1] == pytest.approx([8] * len(curve.series["this run"][1]))
    assert len(samples) == 2
    rows = {row[0]: row[1] for row in table.rows}
    assert rows["counting, 1 bytes of context"] < 0.1  # every byte of this text is followed by one other
    assert rows["xz of the test text alone"] > rows["counting, 1 bytes of context"]


def test_training_lowers_the_bits(task):
    built = task()
    torch.manual_seed(0)
    model = built.build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    before = built.validate(model)["bits_per_byte"]
    for step in range(30):
        loss, _ = built.loss(model, built.batch(np.arange(32), seed=0, epoch=step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        assert built.validate(model)["bits_per_byte"] < before - 3


def test_few_files_are_split_by_position_and_nothing_is_lost(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.txt").write_bytes(bytes([65 + number]) * 333)
    (tmp_path / "other.md").write_text("not read")
    parts = [read_text_split(tmp_path, split) for split in ("train", "valid", "test")]
    whole = b"\n".join(bytes([65 + number]) * 333 for number in range(3))
    assert b"".join(part.content for part in parts) == whole
    assert [len(part.content) for part in parts] == pytest.approx([900, 50, 50], abs=2)
    assert parts[0].how == "by position: 90, 5 and 5 percent of 1,001 bytes"


def test_many_files_are_split_by_whole_files(tmp_path):
    for number in range(21):
        (tmp_path / f"{number:02}.txt").write_bytes(b"%02d" % number)
    parts = {split: read_text_split(tmp_path, split).content for split in ("train", "valid", "test")}
    assert parts["test"] == b"19\n20"
    assert parts["valid"] == b"17\n18"
    assert parts["train"].split(b"\n") == [b"%02d" % number for number in range(17)]


def test_texts_that_cannot_be_split_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file or folder '.*missing'; name one, or 'shakesp"):
        read_text_split(tmp_path / "missing", "train")
    with pytest.raises(ValueError, match=r"text: expected .txt files in .*, found none"):
        read_text_split(tmp_path, "train")
    (tmp_path / "short.txt").write_bytes(b"a")
    with pytest.raises(ValueError, match="text: expected at least one byte in the train split"):
        read_text_split(tmp_path, "train")
    with pytest.raises(ValueError, match="split: expected one of"):
        read_text_split(tmp_path, "dev")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 1}, "length: expected at least 2, got 1"),
        ({"sample_bytes": 0}, "sample_bytes: expected at least 2, got 0"),
        ({"model": TokenModelConfig(vocabulary=300)}, "model.vocabulary: expected 256, the bytes, got 300"),
        ({"model": TokenModelConfig(max_length=9)}, "model.max_length: expected none"),
    ],
)
def test_what_no_run_can_have_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LanguageConfig(**options)


def test_a_text_of_less_than_two_windows_is_refused(task):
    with pytest.raises(ValueError, match=r"length: the training split has 36 bytes, and two windows of 18"):
        task(content=bytes(40), length=18)
