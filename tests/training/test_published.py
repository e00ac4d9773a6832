"""Published Mamba models: their logits, from a folder that `from_pretrained` opens."""

import functools
import re

import literal
import numpy as np
import pytest
import torch

from linsight.models.sequence import from_published, generate
from linsight.training import PublishedConfig, convert_published, from_pretrained, pretrained_config

VOCABULARY, DIM, LAYERS = 11, 12, 2
MIXERS = {
    "mamba": {
        "in_proj.weight": (48, 12),
        "conv1d.weight": (24, 1, 4),
        "conv1d.bias": (24,),
        "x_proj.weight": (1 + 2 * 5, 24),
        "dt_proj.weight": (24, 1),
        "dt_proj.bias": (24,),
        "A_log": (24, 5),
        "D": (24,),
        "out_proj.weight": (12, 24),
    },
    "mamba2": {
        "in_proj.weight": (2 * 24 + 2 * 2 * 3 + 4, 12),
        "conv1d.weight": (24 + 2 * 2 * 3, 1, 4),
        "conv1d.bias": (24 + 2 * 2 * 3,),
        "dt_bias": (4,),
        "A_log": (4,),
        "D": (4,),
        "norm.weight": (24,),
        "out_proj.weight": (12, 24),
    },
}
"""The shapes of a layer: N = 5; and N = 3, two groups, four heads of P = 6."""

OPTIONS = {"mamba": {}, "mamba2": {"groups": 2}}
BLOCKS = {
    "mamba": literal.mamba,
    "mamba2": functools.partial(literal.mamba2, head_dim=6, state_dim=3, groups=2),
}


def published(kind: str) -> dict[str, torch.Tensor]:
    """A random model under the authors' names."""
    shapes = {"backbone.embedding.weight": (VOCABULARY, DIM), "backbone.norm_f.weight": (DIM,)}
    for i in range(LAYERS):
        shapes |= {f"backbone.layers.{i}.mixer.{name}": shape for name, shape in MIXERS[kind].items()}
        shapes[f"backbone.layers.{i}.norm.weight"] = (DIM,)
    generator = torch.Generator().manual_seed(0)
    weights = {name: 0.5 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {**weights, "lm_head.weight": weights["backbone.embedding.weight"]}


def logits(kind: str, weights: dict[str, torch.Tensor], tokens: list[int]) -> torch.Tensor:
    arrays = {name: x.double().numpy() for name, x in weights.items()}
    return torch.from_numpy(literal.language_model(arrays, np.array(tokens), BLOCKS[kind], LAYERS))


@pytest.mark.parametrize("kind", MIXERS)
def test_a_converted_model_has_the_logits_of_the_published_one(kind, tmp_path):
    """x + mixer(rms_norm(x)) without feed-forward networks, a last norm, the embedding as the head."""
    weights, tokens = published(kind), [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 10, 0]
    convert_published(weights, tmp_path, source="drawn", **OPTIONS[kind])
    model = from_pretrained(tmp_path).double()
    with torch.no_grad():
        found, _ = model(torch.tensor([tokens]))
        steps, state = [], None
        for token in tokens:
            step, state = model(torch.tensor([[token]]), state)
            steps.append(step)
    want = logits(kind, weights, tokens)
    torch.testing.assert_close(found[0], want, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(torch.cat(steps, dim=1)[0], want, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", MIXERS)
def test_names_of_transformers_and_an_unwritten_head_are_the_same_model(kind, tmp_path):
    weights = published(kind)
    renamed = {
        name.replace("embedding.", "embeddings."): x for name, x in weights.items() if "head" not in name
    }
    one = convert_published(weights, tmp_path / "a", source="drawn", **OPTIONS[kind])
    other = convert_published(renamed, tmp_path / "b", source="drawn", **OPTIONS[kind])
    assert one == other
    model = from_pretrained(tmp_path / "b")
    assert model.head.weight is model.embedding.tokens.weight


def test_a_head_of_its_own_stays_its_own(tmp_path):
    weights = published("mamba")
    weights["lm_head.weight"] = weights["lm_head.weight"].flip(0)
    convert_published(weights, tmp_path, source="drawn")
    tokens = [1, 2, 3]
    found = from_pretrained(tmp_path).double()(torch.tensor([tokens]))[0][0]
    torch.testing.assert_close(found, logits("mamba", weights, tokens).flip(1), rtol=1e-11, atol=1e-11)


def test_half_precision_becomes_float32(tmp_path):
    weights = {name: x.half() for name, x in published("mamba").items()}
    convert_published(weights, tmp_path, source="drawn")
    state = from_pretrained(tmp_path).state_dict()
    assert all(x.dtype is torch.float32 for x in state.values())
    assert torch.equal(state["stack.blocks.1.mixer.D"], weights["backbone.layers.1.mixer.D"].float())


def test_the_configuration_says_what_was_read_from_the_shapes(tmp_path):
    convert_published(published("mamba2"), tmp_path, source="a random draw", groups=2)
    config = pretrained_config(tmp_path)
    assert isinstance(config, PublishedConfig)
    assert config.source == "a random draw"
    mixer, sequence = config.model.sequence.mixers[0], config.model.sequence
    assert (mixer.kind, mixer.states, mixer.head_dim, mixer.groups, mixer.expansion) == ("mamba2", 3, 6, 2, 2)
    assert (sequence.layers, sequence.dim, sequence.norm, config.model.tied) == (2, 12, "rms", True)


def test_a_converted_model_writes_on(tmp_path):
    convert_published(published("mamba"), tmp_path, source="drawn")
    model = from_pretrained(tmp_path)
    tokens = generate(model, torch.tensor([[1, 2, 3]]), 5, generator=torch.Generator().manual_seed(0))
    assert tokens.shape == (1, 5)


def test_the_givers_tensors_are_copied():
    weights = published("mamba")
    before = {name: x.clone() for name, x in weights.items()}
    _, model = from_published(weights)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert all(torch.equal(x, before[name]) for name, x in weights.items())


def test_the_random_state_is_left():
    before = torch.get_rng_state()
    from_published(published("mamba2"), groups=2)
    assert torch.equal(torch.get_rng_state(), before)


CHANGES = {
    "a Mamba language model has no tensor 'transformer.wte.weight'": {
        "transformer.wte.weight": torch.ones(3)
    },
    "such a model has no 'stack.blocks.0.mixer.in_proj.bias'": {
        "backbone.layers.0.mixer.in_proj.bias": torch.ones(48)
    },
    "no tensor for 'embedding.tokens.weight'": {"backbone.embedding.weight": None},
    "no tensor for 'stack.blocks.0.mixer.conv1d.weight'": {"backbone.layers.0.mixer.conv1d.weight": None},
    "no tensor for 'stack.blocks.1.mixer.D'": {"backbone.layers.1.mixer.D": None},
    "stack.blocks.1.mixer.D: expected shape (24,), got (7,)": {"backbone.layers.1.mixer.D": torch.ones(7)},
}


@pytest.mark.parametrize("message", CHANGES)
def test_other_models_are_refused(message):
    weights = {name: x for name, x in (published("mamba") | CHANGES[message]).items() if x is not None}
    with pytest.raises(ValueError, match=f"^weights: {re.escape(message)}"):
        from_published(weights)


def test_another_number_of_groups_is_refused():
    """Two groups of 3 states are as wide as one of 6, but not three of 2 in four heads."""
    with pytest.raises(ValueError, match="in 3 equal groups"):
        from_published(published("mamba2"), groups=3)
