"""Published RWKV-6 and RWKV-7 checkpoints load as they are, and are the original's model."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from rwkv_original import logits as original_logits

from linsight import optim
from linsight.models.sequence import RWKVModelConfig, generate, rwkv_from_published

DIM, HEADS, LAYERS, VOCABULARY = 12, 3, 3, 11
VERSIONS = ("rwkv6", "rwkv7", "rwkv7 without unused")


def shapes(version: str) -> dict[str, tuple[int, ...]]:
    """Every tensor of a checkpoint, as the authors' models have them (spec/mixers.md, section 17)."""
    c, found = DIM, {"emb.weight": (VOCABULARY, DIM)}
    for i in range(LAYERS):
        block = f"blocks.{i}."
        for norm in ("ln0", "ln1", "ln2") if i == 0 else ("ln1", "ln2"):
            found |= {f"{block}{norm}.weight": (c,), f"{block}{norm}.bias": (c,)}
        att, ffn = f"{block}att.", f"{block}ffn."
        found |= {f"{att}{name}.weight": (c, c) for name in ("receptance", "key", "value", "output")}
        found |= {f"{att}ln_x.weight": (c,), f"{att}ln_x.bias": (c,)}
        if version == "rwkv6":
            found |= {f"{att}time_maa_{name}": (1, 1, c) for name in "xwkvrg"}
            found |= {f"{att}time_maa_w1": (c, 5 * 4), f"{att}time_maa_w2": (5, 4, c)}
            found |= {f"{att}time_decay": (1, 1, c), f"{att}time_decay_w1": (c, 6)}
            found |= {f"{att}time_decay_w2": (6, c), f"{att}time_faaaa": (HEADS, c // HEADS)}
            found |= {f"{att}gate.weight": (c, c), f"{ffn}receptance.weight": (c, c)}
            found |= {f"{ffn}time_maa_k": (1, 1, c), f"{ffn}time_maa_r": (1, 1, c)}
            hidden = 20
        else:
            found |= {f"{att}x_{name}": (1, 1, c) for name in "rwkvag"}
            found |= {f"{att}{name}": (1, 1, c) for name in ("w0", "a0", "v0", "k_k", "k_a")}
            for name, rank in (("w", 5), ("a", 4), ("v", 3), ("g", 7)):
                found |= {f"{att}{name}1": (c, rank), f"{att}{name}2": (rank, c)}
            found |= {f"{att}r_k": (HEADS, c // HEADS), f"{ffn}x_k": (1, 1, c)}
            hidden = 4 * c
        found |= {f"{ffn}key.weight": (hidden, c), f"{ffn}value.weight": (c, hidden)}
    found |= {"ln_out.weight": (c,), "ln_out.bias": (c,), "head.weight": (VOCABULARY, c)}
    if version.endswith("unused"):
        found = {n: s for n, s in found.items() if n not in [f"blocks.0.att.v{i}" for i in range(3)]}
    return found


def checkpoint(version: str, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: 0.4 * torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in shapes(version).items()
    }
    for name, tensor in weights.items():
        if "ln" in name and name.endswith("weight"):
            tensor += 1
    return weights


def loaded(version: str):
    weights = checkpoint(version)
    return rwkv_from_published(weights)[1].double(), weights


def tokens(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("version", VERSIONS)
def test_logits_are_the_originals(version):
    """The whole model, embedding to head, by a literal loop over the published equations in float64."""
    model, weights = loaded(version)
    model.load_state_dict(weights, strict=True)  # in float64: the weights themselves
    x = tokens(2, 37)
    given = {name: tensor.numpy() for name, tensor in weights.items()}
    want = torch.from_numpy(np.stack([original_logits(given, row.numpy(), HEADS) for row in x]))
    torch.testing.assert_close(model(x)[0], want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_size_is_read_from_the_checkpoint(version):
    described, model = rwkv_from_published(checkpoint(version))
    assert (described.version, described.dim, described.layers) == (version.split()[0], DIM, LAYERS)
    assert (described.vocabulary, described.heads) == (VOCABULARY, HEADS)
    if version == "rwkv6":
        assert (described.hidden, described.mix_rank, described.decay_rank) == (20, 4, 6)
    else:
        ranks = (described.decay_rank, described.rate_rank, described.value_rank, described.gate_rank)
        assert (described.hidden, *ranks) == (48, 5, 4, 3, 7)
    own = {name: tuple(x.shape) for name, x in model.state_dict().items()}
    assert own == shapes("rwkv7 without unused" if version.startswith("rwkv7") else version)


@pytest.mark.parametrize("version", VERSIONS[:2])
def test_half_precision_becomes_float32(version):
    weights = {name: x.to(torch.bfloat16) for name, x in checkpoint(version).items()}
    _, model = rwkv_from_published(weights)
    assert all(x.dtype is torch.float32 for x in model.state_dict().values())
    assert torch.equal(model.head.weight, weights["head.weight"].float())


@pytest.mark.parametrize("version", VERSIONS[:2])
@pytest.mark.parametrize("cuts", [(1,), (13, 14), tuple(range(1, 30))], ids=str)
def test_pieces_with_the_state_carried_are_the_whole(version, cuts):
    model, _ = loaded(version)
    x = tokens(2, 30)
    whole, final = model(x)
    state, outputs = None, []
    for first, last in zip((0, *cuts), (*cuts, 30), strict=True):
        logits, state = model(x[:, first:last], state)
        outputs.append(logits)
    torch.testing.assert_close(torch.cat(outputs, dim=1), whole, rtol=1e-10, atol=1e-10)
    for one, other in zip(state, final, strict=True):
        for a, b in zip((*one.att, one.ffn), (*other.att, other.ffn), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("version", VERSIONS[:2])
def test_ragged_rows_are_the_rows_alone(version):
    """Padding of any value; states are the rows' own, of mixers and feed-forward networks."""
    model, _ = loaded(version)
    x, lengths = tokens(3, 12), torch.tensor([12, 5, 1])
    x[1, 5:] = -1
    together, states = model(x, None, lengths)
    following = tokens(3, 4, seed=1)
    after, _ = model(following, states)
    for row, length in enumerate(lengths.tolist()):
        alone, state = model(x[row : row + 1, :length])
        torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-10, atol=1e-10)
        next_alone, _ = model(following[row : row + 1], state)
        torch.testing.assert_close(after[row], next_alone[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("version", VERSIONS[:2])
def test_later_tokens_change_no_earlier_logits_and_every_parameter_is_trained(version):
    model, _ = loaded(version)
    x = tokens(1, 20)
    other = x.clone()
    other[:, 11:] = (x[:, 11:] + 1) % VOCABULARY
    logits, _ = model(x)
    assert torch.equal(model(other)[0][:, :11], logits[:, :11])
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("version", VERSIONS[:2])
def test_steps_sample_what_the_whole_call_gives(version):
    model, _ = loaded(version)
    drawn = generate(model, tokens(2, 5), 6, greedy=True)
    text = torch.cat([tokens(2, 5), drawn], dim=1)
    assert torch.equal(model(text)[0][:, 4:-1].argmax(-1), drawn)


@pytest.mark.parametrize("version", VERSIONS[:2])
def test_state_bytes(version):
    model = rwkv_from_published(checkpoint(version))[1]
    _, state = model(tokens(1, 5))
    held = sum(x.numel() * x.element_size() for layer in state for x in (*layer.att, layer.ffn))
    assert model.state_size(5) == held == LAYERS * 4 * (12 + 12 + 3 * 16)


@pytest.mark.parametrize("version", VERSIONS[:2])
def test_initial_values(version):
    """A fresh model's branches add nothing where the original's do not, and its shifts are its layers'."""
    model = RWKVModelConfig(version=version, vocabulary=7, dim=8, layers=4, heads=2, hidden=16).build()
    for layer, block in enumerate(model.blocks):
        assert (block.att.config.layer, block.att.config.num_layers) == (layer, 4)
        height = 1 - layer / 4
        for n in range(8):
            if version == "rwkv7":
                assert block.ffn.x_k[0, 0, n].item() == pytest.approx(1 - (n / 8) ** height**4, abs=1e-6)
            else:
                for name in ("time_maa_k", "time_maa_r"):
                    got = block.ffn.get_parameter(name)[0, 0, n].item()
                    assert got == pytest.approx(1 - (n / 8) ** height, abs=1e-6)
        if version == "rwkv7":
            assert not block.ffn.value.weight.any()
            assert not block.att.output.weight.any()
    assert model.emb.weight.abs().max() <= 1e-4
    torch.testing.assert_close(model.head.weight @ model.head.weight.T, 0.25 * torch.eye(7))


def test_weight_decay_is_on_the_matrices_of_linear_maps_alone():
    _, model = rwkv_from_published(checkpoint("rwkv7"))
    groups = optim.param_groups(model, lr=1e-3, weight_decay=0.1)
    decayed = {name for group in groups if group["weight_decay"] for name in group["param_names"]}
    linear = {n for n, s in shapes("rwkv7").items() if n.endswith(".weight") and len(s) == 2}
    assert decayed == linear - {"emb.weight"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("emb.weight"), "weights: no tensor 'emb.weight'; expected an RWKV-6 or RWKV-7"),
        (lambda w: w.pop("blocks.2.att.v1"), "weights: .*blocks.2.att.v1"),
        (lambda w: w.update({"blocks.1.att.bias": torch.zeros(3)}), "weights: .*blocks.1.att.bias"),
        (lambda w: w.update({"ln_out.weight": torch.zeros(3)}), "weights: .*ln_out.weight"),
    ],
    ids=["no embedding", "one too few", "one too many", "another size"],
)
def test_other_checkpoints_are_refused(change, message):
    weights = checkpoint("rwkv7")
    change(weights)
    with pytest.raises(ValueError, match=message) as info:
        rwkv_from_published(weights)
    assert "\n" not in str(info.value)


def test_refusals():
    model = RWKVModelConfig(vocabulary=7, dim=8, layers=2, heads=2, hidden=16).build()
    with pytest.raises(ValueError, match="tokens: expected 0 to 6, got 7"):
        model(torch.tensor([[7]]))
    with pytest.raises(ValueError, match="lengths: expected 1 integers from 0 to 2"):
        model(torch.tensor([[1, 2]]), None, torch.tensor([3]))
    with pytest.raises(ValueError, match="state: expected one for each of 2 layers, got 1"):
        model(torch.tensor([[1, 2]]), (None,))
    with pytest.raises(ValueError, match="hidden: expected at least 1, got 0"):
        RWKVModelConfig(hidden=0)


def test_an_unknown_version_is_refused_where_shapes_are_not_checked():
    """In another process: here the shape checks would catch it before the code a user runs does."""
    program = "from linsight.models.sequence import RWKVModelConfig; RWKVModelConfig(version='rwkv5')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ValueError: version: expected one of rwkv6, rwkv7, got 'rwkv5'" in done.stderr
