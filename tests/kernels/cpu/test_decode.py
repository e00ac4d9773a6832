"""The compiled step: the model in float64, at every level, each row by itself, nothing written outside."""

import copy
import ctypes
import itertools
import re
from collections.abc import Callable
from functools import partial

import pytest
import torch
from decode_cases import (
    CLOSE,
    KINDS,
    assert_follows,
    awake,
    error,
    mixers_of,
    own_step,
    raster_model,
    tokens_model,
    walk,
)
from torch import Tensor, nn

from linsight import kernels
from linsight.kernels.cpu import decode, library
from linsight.mixers import config
from linsight.models.sequence import (
    Context,
    SequenceConfig,
    SequenceModel,
    SequenceState,
    Steps,
    TokenEmbedding,
    TokenModelConfig,
)
from linsight.models.sequence.decoded import block_states

LEVELS = kernels.cpu.levels()
pytestmark = pytest.mark.skipif(not LEVELS, reason=f"no library: {kernels.cpu.why_not()}")
MODELS = {
    "odd sizes": {"heads": 4},
    "rms norm": {"norm": "rms"},
    "no earlier tokens": {"previous": 0},
    "whole registers": {"dim": 64, "heads": 2, "mlp_dim": 64, "outputs": 64},
    "two registers and a tail": {"dim": 40, "heads": 1, "mlp_dim": 130, "outputs": 70},
    "one feature a head": {"dim": 3, "heads": 3, "mlp_dim": 1, "outputs": 1, "layers": 1},
    **{f"map {name}": {"feature_map": name} for name in kernels.cpu.MAPS if name != "elu"},
    "without a normaliser": {"normalise": False},
    "retnet": {"kind": "retnet", "heads": 2},
    "retnet, wide": {"kind": "retnet", "heads": 1, "expansion": 3},
    "mamba2": {"kind": "mamba2", "states": 5, "head_dim": 10},
    "mamba2, groups": {"kind": "mamba2", "states": 18, "head_dim": 5, "groups": 2, "norm_before_gate": True},
    "mamba2, one tap": {"kind": "mamba2", "states": 3, "head_dim": 20, "taps": 1},
    "gated_delta": {"kind": "gated_delta", "heads": 2},
    "gated_delta, two taps": {"kind": "gated_delta", "heads": 3, "head_dim": 7, "expand": 3, "taps": 2},
    "gated_delta, negative": {"kind": "gated_delta", "heads": 1, "allow_neg_eigval": True},
    "mamba": {"kind": "mamba"},
    "mamba, odd": {"kind": "mamba", "states": 19, "step_rank": 3, "taps": 3},
    "norm_attention": {"kind": "norm_attention", "heads": 2, "variant": "t1"},
    "norm_attention, t2": {"kind": "norm_attention", "heads": 1, "variant": "t2", "eps": 0.3},
    "rwkv6": {"kind": "rwkv6", "heads": 4},
    "rwkv6, odd ranks": {"kind": "rwkv6", "heads": 2, "mix_rank": 3, "decay_rank": 17, "norm": "rms"},
    "rwkv6, wide": {"kind": "rwkv6", "dim": 72, "heads": 1, "mix_rank": 1, "layers": 1},
    "rwkv7": {"kind": "rwkv7", "heads": 4},
    "rwkv7, odd ranks": {
        **{"kind": "rwkv7", "heads": 2, "layers": 3, "norm": "rms"},
        **{"decay_rank": 3, "rate_rank": 1, "value_rank": 17, "gate_rank": 70},
    },
    "rwkv7, wide": {"kind": "rwkv7", "dim": 72, "heads": 1},
    "performer": {"kind": "performer", "heads": 4},
    "performer, a panel of features": {"kind": "performer", "dim": 72, "heads": 1, "num_features": 64},
    "performer, hyperbolic": {"kind": "performer", "heads": 2, "kernel": "hyperbolic", "num_features": 130},
    "performer, relu": {"kind": "performer", "heads": 2, "kernel": "relu", "num_features": 1},
}


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_logits_and_states_are_those_of_float64(options: dict) -> None:
    """Of nine rows: what they are together they are alone, as another test says."""
    assert_follows(tokens_model(**options), torch.randint(7, (9, 4)))


@pytest.mark.parametrize("features", [True, False])
def test_every_step_of_a_grid_sees_its_own_neighbours(features: bool) -> None:
    """From the start token to the last step that there is, past the grid's end."""
    tokens = torch.randint(4, (5, 14))
    tokens[:, 0] = torch.tensor([4, 5, 6, 4, 5])
    assert_follows(raster_model(features=features), tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_continue_what_a_long_call_left(kind: str) -> None:
    """States of ragged rows: memories, inputs of convolutions, and rotary positions that differ."""
    model = tokens_model(kind=kind, **KINDS[kind])
    exact = copy.deepcopy(model).double()
    prompts, lengths = torch.randint(7, (4, 8)), torch.tensor([8, 1, 3, 7])
    (_, state), (_, expected) = model(prompts, None, lengths), exact(prompts, None, lengths)
    steps = Steps(model)
    assert steps.reason is None
    for column in torch.randint(7, (4, 4)).unbind(1):
        logits, state = steps(column, state)
        wanted, expected = exact(column[:, None], expected)
        assert error(logits, wanted[:, 0]) < 3 * CLOSE


def test_values_of_the_first_layer_are_relayed_past_others() -> None:
    """Of narrower and wider mixers in between, whose values are not those."""
    mixers = (config("rwkv7", heads=2), config("linear"), config("retnet", heads=1, expansion=3))
    sequence = SequenceConfig(dim=20, layers=5, mlp_dim=9, mixers=mixers)
    model = awake(SequenceModel(TokenEmbedding(7, 20, max_length=12), sequence, 9))
    assert_follows(model, torch.randint(7, (51, 3)))


def test_a_memory_of_other_random_features_is_refused() -> None:
    """In the model's words; a row that has read nothing may stand beside others."""
    model = tokens_model(kind="performer")
    steps, tokens = Steps(model), torch.tensor([1, 2])
    _, state = steps(tokens)
    assert torch.equal(state.layers[1].draw, mixers_of(model)[1].projection.draw.expand(2))
    for part in state.layers[1]:
        part[1] = 0
    state.layers[1].peak[1] = 50.0
    expected, _ = own_step(model, tokens, copy.deepcopy(state))
    logits, state = steps(tokens, state)
    assert error(logits, expected) < CLOSE
    state.layers[1].draw[1] += 1
    with pytest.raises(ValueError, match=r"state.draw: expected a state made with this mixer's present"):
        steps(tokens, state)
    state.layers[1].draw[1] -= 1
    steps(tokens, state)


@pytest.mark.parametrize("kind", KINDS)
def test_half_weights_are_those_of_a_rounded_model(kind: str) -> None:
    """bfloat16 matrices of the blocks, all else in float32: no further rounding."""
    model = tokens_model(dim=40, mlp_dim=70, kind=kind, **KINDS[kind])
    rounded = copy.deepcopy(model)
    for name, parameter in rounded.stack.named_parameters():
        owner, _, own = name.rpartition(".")
        linear = isinstance(rounded.stack.get_submodule(owner), nn.Linear)
        if (linear and own == "weight") or re.search(r"[a-z][12]$", own):
            parameter.data = parameter.bfloat16().float()
    tokens = torch.randint(7, (7, 4))
    assert_follows(model, tokens, rounded, half=True)
    with pytest.raises(AssertionError):
        assert_follows(model, tokens, half=True)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_threads_do_not_know_of_one_another(level: str, kind: str, monkeypatch) -> None:
    """A row alone, among others, and on any number of threads: the same bits."""
    monkeypatch.setattr(library, "ENOUGH", 1)
    model, tokens = tokens_model(dim=40, mlp_dim=70, kind=kind, **KINDS[kind]), torch.randint(7, (59, 3))
    before = torch.get_num_threads()

    def logits(rows: Tensor) -> Tensor:
        return torch.stack(walk(Steps(model), rows)[0], 1)

    try:
        with kernels.cpu.at_level(level):
            torch.set_num_threads(1)
            whole = logits(tokens)
            for first, end in itertools.pairwise((0, 1, 3, 6, 10, 15, 59)):
                assert torch.equal(logits(tokens[first:end]), whole[first:end])
            for threads in (2, 5):
                torch.set_num_threads(threads)
                assert torch.equal(logits(tokens), whole)
    finally:
        torch.set_num_threads(before)


def guarded(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A tensor between guards of 32, and both guards."""
    count = torch.Size(shape).numel()
    whole = torch.full((count + 64,), 12345, dtype=dtype)
    return whole[32:-32].view(shape).fill_(0), torch.stack([whole[:32], whole[-32:]])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 49])
def test_nothing_is_written_outside(level: str, batch: int, kind: str, monkeypatch) -> None:
    """States, context, logits and scratch memory stand between guards, the latter two begin as NaN."""
    model, guards = tokens_model(outputs=70, kind=kind, **KINDS[kind]), []
    made = torch.empty

    def empty(*shape, **options) -> Tensor:
        edge = (
            48 * 64
        )  # a buffer too few, as wide as a panel, would have its successor begin that far outside
        whole = made(torch.Size(shape).numel() + 2 * edge, **options).fill_(torch.nan)
        whole[:edge] = whole[-edge:] = 12345
        guards.extend((whole[:edge], whole[-edge:]))
        return whole[edge:-edge].view(shape)

    with kernels.cpu.at_level(level):
        steps, tokens = Steps(model), torch.randint(7, (batch,))
        _, state = own_step(model, tokens, None)
        inside = []
        for part in (*state.context, *itertools.chain(*state.layers)):
            tensor, edges = guarded(tuple(part.shape), part.dtype)
            guards.append(edges)
            inside.append(tensor)
        context = Context(*inside[:3])
        context.recent.fill_(-1)
        fresh = iter(inside[3:])
        begun = SequenceState(context, tuple(type(one)(*(next(fresh) for _ in one)) for one in state.layers))
        monkeypatch.setattr(torch, "empty", empty)
        logits, after = steps(tokens, begun)
        monkeypatch.undo()
        assert len(guards) == 2 * 2 + len(inside)
        assert all((guard == 12345).all() for guard in guards)
        assert after.context.recent is context.recent, "the state goes on in place"
        assert torch.equal(logits, steps(tokens)[0])


@pytest.mark.parametrize("level", LEVELS)
def test_nan_stays_in_its_row(level: str) -> None:
    """A state with NaN gives its row NaN, and no other row; infinite activations are those of the model."""
    model, tokens = tokens_model(), torch.randint(7, (4,))
    with kernels.cpu.at_level(level):
        steps = Steps(model)
        _, state = steps(tokens)
        state.layers[1].memory[2, 0, 1, 1] = torch.nan
        logits, _ = steps(tokens, state)
    assert logits[2].isnan().all()
    assert logits[[0, 1, 3]].isfinite().all()


def test_no_rows_give_no_logits() -> None:
    logits, state = Steps(tokens_model())(torch.zeros(0, dtype=torch.int64))
    assert logits.shape == (0, 9)
    assert state.layers[0].memory.shape[0] == 0


def refusal(step: Callable, tokens: list[list[int]]) -> str:
    """What is said of the first token that is refused."""
    state = None
    for token in tokens:
        try:
            _, state = step(torch.tensor(token), state)
        except ValueError as error:
            return str(error)
    raise AssertionError("nothing is refused")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("raster", [True, False])
def test_what_the_model_refuses_is_refused_in_its_words(level: str, raster: bool) -> None:
    """A token outside, and a step more than there are places: nothing is read where nothing is."""
    model = raster_model() if raster else tokens_model()
    places = [[4], *([[1]] * 14)]
    for tokens in ([[4], [-1]], [[4], [10**12]], [[4], [7]], [[9]], [[2]] if raster else [[7]], places):
        with kernels.cpu.at_level(level):
            found = refusal(Steps(model), tokens)
        assert found == refusal(partial(own_step, model), tokens)


def decoded(
    steps: Steps, tokens: Tensor, state: SequenceState, parts: list[kernels.cpu.BlockState]
) -> Tensor:
    """A step without what `Steps` says where it is refused."""
    assert steps._decoder is not None
    start, recent, place = state.context
    return steps._decoder.step(tokens, start, recent, place, parts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_of_other_rows_or_of_another_model_is_refused(kind: str) -> None:
    """In the model's words where it has some; no memory of another size is ever touched."""
    model, other = (tokens_model(dim=dim, kind=kind, **KINDS[kind]) for dim in (20, 40))
    _, few = Steps(model)(torch.tensor([1, 2]))
    _, large = Steps(other)(torch.tensor([1, 2, 3]))
    for state in (few, SequenceState(large.context, few.layers), large):
        with pytest.raises(ValueError, match="expected"):
            Steps(model)(torch.tensor([1, 2, 3]), state)
    _, whole = Steps(model)(torch.tensor([1, 2, 3]))
    parts = block_states(model, whole.layers)
    for wrong in (
        parts[0]._replace(memory=parts[0].memory.double()),
        parts[0]._replace(memory=few.layers[0][-1]),
    ):
        steps = Steps(model)
        with pytest.raises(
            ValueError, match=r"memory: expected \(3, .*\) of torch.float32 without gaps, got"
        ):
            decoded(steps, torch.tensor([1, 2, 3]), whole, [wrong, *parts[1:]])


@pytest.mark.parametrize("level", LEVELS)
def test_a_state_that_says_nonsense_reads_nothing_outside(level: str) -> None:
    """Tokens of the past that no model has read count as none; a start that is none is refused."""
    model = raster_model()
    with kernels.cpu.at_level(level):
        steps = Steps(model)
        _, state = steps(torch.tensor([4, 5]))
        state.context.recent.copy_(torch.tensor([10**15, -(10**15)])[:, None])
        logits, state = steps(torch.tensor([0, 1]), state)
        assert logits.isfinite().all()
        state.context.start.fill_(10**15)
        with pytest.raises(
            ValueError, match="tokens: one is out of range, or a row has no place left or features"
        ):
            decoded(steps, torch.tensor([0, 1]), state, block_states(model, state.layers))


def test_the_structures_have_the_sizes_of_the_fields_in_c() -> None:
    """Eight bytes each, in one order on both sides: what is wrong there shows in every other test."""
    matrix, projection, convolution, mixing = (
        ctypes.sizeof(one)
        for one in (decode._Matrix, decode._Projection, decode._Convolution, decode._Mixing)
    )
    assert matrix == 8 * 4
    assert projection == matrix + 8 * 5
    assert convolution == 8 * 5
    assert mixing == 8 * (9 + 16 + 3 + 1 + 8 + 2 + 1 + 6) + 3 * convolution + matrix
    assert ctypes.sizeof(decode._Block) == 8 * 2 + 3 * matrix + mixing
    assert ctypes.sizeof(decode._Embedding) == 8 * 10
    assert ctypes.sizeof(decode._Step) == 8 * (5 + 1 + 1 + 6 + 1) + matrix + 8 * 10


def test_tied_weights_and_any_model_of_tokens_are_covered() -> None:
    sequence = SequenceConfig(dim=16, layers=1, mlp_dim=8)
    model = TokenModelConfig(vocabulary=11, tied=True, sequence=sequence).build()
    assert_follows(awake(model), torch.randint(11, (3, 6)))
