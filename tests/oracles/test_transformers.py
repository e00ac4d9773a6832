"""Mamba and Mamba-2 of transformers, where it is installed: their weights converted give their logits."""

import warnings

import pytest
import torch

from linsight.models.sequence import from_published

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")

SIZES = {"vocab_size": 13, "num_hidden_layers": 2, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}


def theirs(kind: str) -> torch.nn.Module:
    """A small random model of float32, which their code computes whatever the weights are."""
    torch.manual_seed(0)
    if kind == "mamba":
        config = transformers.MambaConfig(hidden_size=24, state_size=5, **SIZES)
        model = transformers.MambaForCausalLM(config)
    else:
        config = transformers.Mamba2Config(
            hidden_size=24, state_size=8, head_dim=6, num_heads=8, n_groups=2, chunk_size=16, **SIZES
        )
        model = transformers.Mamba2ForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("A_log"):
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("kind", ["mamba", "mamba2"])
def test_logits_are_equal(kind):
    model, tokens = theirs(kind), torch.randint(13, (2, 40))
    _, ours = from_published(model.state_dict(), groups=2 if kind == "mamba2" else 1)
    with torch.no_grad():
        want = model(tokens).logits
        torch.testing.assert_close(ours(tokens)[0], want, rtol=1e-5, atol=1e-5)
        # And in pieces, with the state carried.
        first, state = ours(tokens[:, :7])
        rest, _ = ours(tokens[:, 7:], state)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), want, rtol=1e-5, atol=1e-5)
    assert want.abs().mean() > 0.1
