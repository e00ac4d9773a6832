"""A Mamba block and AdamW's step beside those of others: the same gradients, the same weights."""

import pytest

from linsight import kernels, mixers
from linsight.profiling import training
from linsight.profiling.peers import PEERS, peer
from linsight.profiling.ratios import largest_error

needs_library = pytest.mark.skipif(not kernels.cpu.levels(), reason=f"no library: {kernels.cpu.why_not()}")


def test_a_step_of_adamw_is_that_of_torchs_loop() -> None:
    """Ten steps from the same weights, which every step changes by about their own size."""
    calls = training._adamw(3, 4, 5)
    for _ in range(10):
        exact = [weight.clone() for weight in calls.exact()]
        for found in (calls.ours(), calls.other()):
            assert largest_error(found, exact) < 1e-6


def test_the_optimiser_has_ten_million_weights(monkeypatch) -> None:
    made = []
    monkeypatch.setattr(training, "_adamw", lambda *shape: made.append(shape))
    monkeypatch.setattr(training, "_mamba", lambda *shape: made.append(shape))
    for case in training.training_cases():
        case.make()
    assert made == [(2, 784, 256), (200, 200, 250)]


@needs_library
@pytest.mark.parametrize("installed", [False, True])
def test_a_mamba_block_has_the_gradients_of_its_peer(monkeypatch, installed: bool) -> None:
    """mambapy's where it is installed; else a block of the published names that runs token by token."""
    if installed:
        try:
            peer("mambapy", 16, causal=True)
        except ImportError as error:
            pytest.skip(str(error))
    else:
        naive = mixers.build("mamba", dim=16, form="naive")
        monkeypatch.setattr(training, "peer", lambda *_, **__: naive)
    calls = training._mamba(2, 70, 16)
    exact = calls.exact()
    assert len(exact) == 10  # of x and of nine weights
    for found in (calls.ours(), calls.other()):
        assert largest_error(found, exact) < 5e-6


def test_a_block_whose_peer_is_missing_says_so(monkeypatch) -> None:
    monkeypatch.setitem(PEERS, "mambapy", "no_such_package")
    with pytest.raises(ImportError, match="mambapy is not installed"):
        training._mamba(1, 4, 16)
