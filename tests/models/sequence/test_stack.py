"""A stack is its blocks in a row, and obeys the split law whatever mixers it holds."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from linsight.mixers import config
from linsight.models.sequence import SequenceConfig, Stack
from linsight.models.sequence.stack import Block


def _stack(sequence_config, pattern: str, *, layers: int = 3, causal: bool = True) -> Stack:
    return Stack(sequence_config(pattern, layers), causal=causal).double()


def _assert_states(found, expected) -> None:
    for one, other in zip(found, expected, strict=True):
        assert type(one) is type(other)
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("cuts", [(1,), (4, 5), (2, 3, 8), tuple(range(1, 11))], ids=str)
def test_pieces_with_the_state_carried_are_the_whole(sequence_config, pattern: str, cuts) -> None:
    stack = _stack(sequence_config, pattern)
    x = torch.randn(2, 11, 8, dtype=torch.float64)
    whole, final = stack(x)
    state, outputs = None, []
    for first, last in zip((0, *cuts), (*cuts, 11), strict=True):
        h, state = stack(x[:, first:last], state)
        outputs.append(h)
    torch.testing.assert_close(torch.cat(outputs, dim=1), whole, rtol=1e-10, atol=1e-11)
    _assert_states(state, final)


def test_the_pattern_of_mixers_is_repeated_over_the_layers(sequence_config) -> None:
    stack = _stack(sequence_config, "mixed", layers=5)
    kinds = [block.mixer.config.kind for block in stack.blocks]
    assert kinds == ["linear", "softmax", "linear", "softmax", "linear"]


def test_ragged_rows_are_the_rows_alone(sequence_config, pattern: str) -> None:
    stack = _stack(sequence_config, pattern)
    x = torch.randn(3, 9, 8, dtype=torch.float64)
    lengths = torch.tensor([9, 2, 5])
    together, states = stack(x, None, lengths)
    after, _ = stack(x[:, :2], states)
    for row, length in enumerate(lengths.tolist()):
        alone, state = stack(x[row : row + 1, :length])
        torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-10, atol=1e-11)
        next_alone, _ = stack(x[row : row + 1, :2], state)
        torch.testing.assert_close(after[row], next_alone[0], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_a_stack_is_its_formula(sequence_config, kind) -> None:
    """x + mixer(norm(x)), x + mlp(norm(x)), layer by layer, then the last norm."""
    stack = Stack(replace(sequence_config("mixed", 2), norm=kind)).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)

    def norm(x, weight):
        x = x - x.mean(-1, keepdim=True) if kind == "layer" else x
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight

    expected = x
    for block in stack.blocks:
        expected = expected + block.mixer(norm(expected, block.mixer_norm.weight))[0]
        expected = expected + block.mlp(norm(expected, block.mlp_norm.weight))
    expected = norm(expected, stack.norm.weight)
    torch.testing.assert_close(stack(x)[0], expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("causal", [True, False])
def test_causal_says_whether_the_first_token_sees_the_last(sequence_config, pattern, causal) -> None:
    stack = _stack(sequence_config, pattern, causal=causal)
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    other = x.clone()
    other[:, -1] = torch.randn(8, dtype=torch.float64)
    (first, state), (second, _) = stack(x), stack(other)
    change = (first[:, 0] - second[:, 0]).abs().max()
    assert change == 0 if causal else change > 1e-6
    assert all((layer is None) != causal for layer in state)


def test_the_outputs_of_branches_start_smaller_in_deeper_stacks() -> None:
    """Each of the 2 L branches ends in weights of std (6 L dim)^(-1/2): torch's own over the root of 2 L."""
    for layers in (1, 8):
        stack = Stack(SequenceConfig(dim=64, layers=layers, mlp_dim=64, mixers=(config("linear"),)))
        for block in stack.blocks:
            for branch in (block.mixer.out, block.mlp.out):
                assert isinstance(branch, nn.Linear)
                assert branch.weight.std().item() == pytest.approx((6 * layers * 64) ** -0.5, rel=0.05)


@pytest.mark.parametrize("name", ["dim", "layers", "mlp_dim"])
def test_a_size_below_1_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
        SequenceConfig(**{name: 0})


@pytest.mark.parametrize(
    ("arrangement", "layers", "expected"),
    [("cycle", 5, "lslsl"), ("runs", 4, "llss"), ("runs", 5, "lllss"), ("runs", 1, "l"), ("cycle", 1, "l")],
)
def test_mixers_take_turns_or_runs(arrangement: str, layers: int, expected: str) -> None:
    mixers = (config("linear"), config("softmax"))
    sequence = SequenceConfig(layers=layers, mixers=mixers, arrangement=arrangement)
    assert "".join(sequence.mixer_of_layer(layer).kind[0] for layer in range(layers)) == expected


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 9])
def test_local_layers_first_and_linear_ones_after_them_are_one_stack(cut: int) -> None:
    """TransNormer's arrangement (Qin et al. 2022): two runs of layers, split anywhere in a block."""
    mixers = (config("diag_attention", heads=2, block=4), config("linear", heads=2))
    sequence = SequenceConfig(dim=8, layers=4, mlp_dim=8, mixers=mixers, arrangement="runs")
    stack = Stack(sequence).double()
    kinds = [block.mixer.config.kind for block in stack.blocks]
    assert kinds == ["diag_attention", "diag_attention", "linear", "linear"]
    x = torch.randn(2, 11, 8, dtype=torch.float64)
    whole, final = stack(x)
    first, state = stack(x[:, :cut])
    second, state = stack(x[:, cut:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, rtol=1e-10, atol=1e-11)
    _assert_states(state, final)


def test_gated_units_stand_in_blocks_without_mlp() -> None:
    mixers = (config("gau", key_dim=4), config("flash", key_dim=4, chunk=4), config("linear", heads=2))
    stack = Stack(SequenceConfig(dim=8, layers=3, mlp_dim=8, mixers=mixers)).double()
    assert [block.has_mlp for block in stack.blocks] == [False, False, True]
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    whole, final = stack(x)
    first, state = stack(x[:, :5])
    second, state = stack(x[:, 5:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, rtol=1e-10, atol=1e-11)
    _assert_states(state, final)


def test_a_block_without_mlp_is_the_mixer_alone() -> None:
    mixer = config("linear", heads=2).build(8)
    block = Block(8, None, mixer)
    x = torch.randn(2, 5, 8)
    assert torch.equal(block(x)[0], x + mixer(block.mixer_norm(x))[0])
    assert not any("mlp" in name for name, _ in block.named_parameters())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("arrangement='halves'", "arrangement: expected 'cycle' or 'runs', got 'halves'"),
        ("norm='batch'", "norm: expected 'layer' or 'rms', got 'batch'"),
    ],
)
def test_an_unknown_choice_is_refused(option: str, message: str) -> None:
    """In another process: here the shape checks would catch it before the code a user runs does."""
    program = f"from linsight.models.sequence import SequenceConfig; SequenceConfig({option})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f"ValueError: {message}" in done.stderr


def test_no_mixers_are_refused() -> None:
    with pytest.raises(ValueError, match="mixers: expected at least one mixer configuration, got none"):
        SequenceConfig(mixers=())


def test_a_state_of_another_depth_is_refused(sequence_config) -> None:
    x = torch.randn(1, 2, 8, dtype=torch.float64)
    _, state = _stack(sequence_config, "linear", layers=2)(x)
    with pytest.raises(ValueError, match="state: expected one for each of 3 layers, got 2"):
        _stack(sequence_config, "linear", layers=3)(x, state)


def _rwkv(*kinds: str, layers: int = 4, arrangement: str = "cycle") -> SequenceConfig:
    mixers = tuple(config(kind, heads=2) for kind in kinds)
    return SequenceConfig(dim=8, layers=layers, mlp_dim=8, mixers=mixers, arrangement=arrangement)


def _moved(sequence: SequenceConfig) -> Stack:
    stack = Stack(sequence).double()
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return stack


def test_a_mixer_knows_its_place_among_those_of_its_kind() -> None:
    """Its initial values depend on it; the first of a kind is a first layer wherever it stands."""
    places = [(c.layer, c.num_layers) for c in map(_rwkv("rwkv6").mixer_of_layer, range(4))]
    assert places == [(0, 4), (1, 4), (2, 4), (3, 4)]
    for arrangement, expected in (("cycle", [1, 3]), ("runs", [2, 3])):
        mixed = _rwkv("linear", "rwkv7", arrangement=arrangement)
        chosen = [mixed.mixer_of_layer(layer) for layer in range(4)]
        assert [layer for layer, c in enumerate(chosen) if c.kind == "rwkv7"] == expected
        assert [(c.layer, c.num_layers) for c in chosen if c.kind == "rwkv7"] == [(0, 2), (1, 2)]


@pytest.mark.parametrize("kinds", [("rwkv7",), ("linear", "rwkv7"), ("rwkv7", "linear")], ids=str)
def test_the_first_values_go_through_the_stack(kinds) -> None:
    """From the first layer of the kind to every later one, past other mixers; pieces are the whole."""
    stack = _moved(_rwkv(*kinds))
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    expected, v_first = x, None
    for block in stack.blocks:
        if hasattr(block.mixer, "relay"):
            mixed, _, values = block.mixer.relay(block.mixer_norm(expected), v_first=v_first)
            v_first = values if v_first is None else v_first
        else:
            mixed, _ = block.mixer(block.mixer_norm(expected))
        expected = expected + mixed
        expected = expected + block.mlp(block.mlp_norm(expected))
    whole, final = stack(x)
    torch.testing.assert_close(whole, stack.norm(expected), rtol=1e-11, atol=1e-11)
    first, state = stack(x[:, :4])
    rest, state = stack(x[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole, rtol=1e-10, atol=1e-11)
    _assert_states(state, final)


def test_gradients_of_later_layers_reach_the_first_values() -> None:
    """Relayed values are no constants: a loss on what a later layer makes of them trains the first one."""
    stack = _moved(_rwkv("rwkv7", layers=2))
    first, second = (block.mixer for block in stack.blocks)
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    v_first = first.relay(x)[2]
    second.relay(x, v_first=v_first)[0].sum().backward()
    assert first.value.weight.grad.any()
