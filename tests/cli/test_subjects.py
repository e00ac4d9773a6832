"""Words of the command line: which module each of them names."""

import pytest
import torch

from linsight.cli.subjects import subject_named, subjects_named
from linsight.conformance import our_subjects


@pytest.mark.parametrize(
    ("word", "changed"),
    [
        ("linear", {}),
        ("linear heads=4", {"heads": 4}),
        ("linear feature_map=relu normalise=false", {"feature_map": "relu", "normalise": False}),
        ("linear normalise=None", {"normalise": None}),
        ("softmax bidirectional positions=rotary", {"positions": "rotary"}),
    ],
)
def test_options_are_read_as_their_types(word: str, changed: dict) -> None:
    mixer = subject_named(word).build().mixer
    assert mixer.causal == ("bidirectional" not in word)
    for name, value in ({"heads": 2} | changed).items():
        assert getattr(mixer.config, name) == value
        assert type(getattr(mixer.config, name)) is type(value)


def test_every_subject_of_ours_has_its_word() -> None:
    """With the word comes what the subject never promised."""
    ours = our_subjects()
    for subject in subjects_named([], all_ours=True):
        assert subject.build().unpromised == ours[subject.name].build().unpromised
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    word = "linear feature_map=relu bidirectional"
    one, other = (found.build()(x)[0] for found in (subject_named(word), ours[word]))
    assert torch.equal(one, other)


def test_options_go_to_every_kind_before_bidirectional() -> None:
    found = subjects_named(["linear bidirectional", "softmax"], options=["heads=4"], bidirectional=False)
    assert [subject.name for subject in found] == ["linear heads=4 bidirectional", "softmax heads=4"]
