"""The compiled step: the model in float64, at every level, each row by itself, nothing written outside."""

import copy
import ctypes
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from linsight import kernels
from linsight.kernels.cpu import decode, library
from linsight.mixers import config
from linsight.models.sequence import (
    Context,
    RasterEmbedding,
    SequenceConfig,
    SequenceModel,
    SequenceState,
    Steps,
    TokenEmbedding,
    TokenModelConfig,
)

LEVELS = kernels.cpu.levels()
pytestmark = pytest.mark.skipif(not LEVELS, reason=f"no library: {kernels.cpu.why_not()}")
CLOSE = 1e-6
"""Relative, of logits and states after some steps; where a small model magnifies its own rounding, as layer
norm does with three numbers, and similarities of relu near 0, three times what its own step is off."""


def awake(model: SequenceModel) -> SequenceModel:
    """Every weight matters; a model's heads begin at 0."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
        else:
            nn.init.normal_(parameter, mean=0.5, std=0.2)
    return model.eval().requires_grad_(False)


def tokens_model(*, dim=20, heads=4, layers=2, mlp_dim=27, norm="layer", previous=2, outputs=9, **mixer):
    """Nothing in it is a multiple of a register's width unless it is asked for."""
    sequence = SequenceConfig(
        dim=dim, layers=layers, mlp_dim=mlp_dim, mixers=(config("linear", heads=heads, **mixer),), norm=norm
    )
    embedding = TokenEmbedding(7, dim, max_length=12, previous=previous)
    return awake(SequenceModel(embedding, sequence, outputs))


def raster_model(**options) -> SequenceModel:
    """Grid of 3 x 4 cells, two steps after it, neighbours that lie outside at every edge."""
    sequence = SequenceConfig(dim=24, layers=2, mlp_dim=10, mixers=(config("linear", heads=3),))
    features = torch.randn(4, 3) if options.pop("features", True) else None
    neighbours = ((0, -1), (-1, 0), (-1, 1), (0, -2), (-2, 0))
    embedding = RasterEmbedding(
        4, 3, (3, 4), 24, neighbours=neighbours, features=features, extra_steps=2, **options
    )
    return awake(SequenceModel(embedding, sequence, 6, features=features))


def error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


def assert_follows(
    model: SequenceModel, tokens: Tensor, exact: SequenceModel | None = None, **options
) -> None:
    """All steps from the beginning: logits, states and contexts are those of `exact` in float64."""
    eager, exact = exact or model, copy.deepcopy(exact or model).double()
    with torch.no_grad():
        steps = Steps(model, **options)
        assert steps.reason is None
        found = own = expected = None
        for column in tokens.unbind(1):
            logits, found = steps(column, found)
            rounded, own = eager(column[:, None], own)
            wanted, expected = exact(column[:, None], expected)
            assert error(logits, wanted[:, 0]) < max(CLOSE, 3 * error(rounded, wanted))
    for one, other, third in zip(found.layers, expected.layers, own.layers, strict=True):
        assert error(one.memory, other.memory) < max(CLOSE, 3 * error(third.memory, other.memory))
    assert all(torch.equal(one, other) for one, other in zip(found.context, expected.context, strict=True))


MODELS = {
    "odd sizes": {},
    "rms norm": {"norm": "rms"},
    "no earlier tokens": {"previous": 0},
    "whole registers": {"dim": 64, "heads": 2, "mlp_dim": 64, "outputs": 64},
    "two registers and a tail": {"dim": 40, "heads": 1, "mlp_dim": 130, "outputs": 70},
    "one feature a head": {"dim": 3, "heads": 3, "mlp_dim": 1, "outputs": 1, "layers": 1},
    **{f"map {name}": {"feature_map": name} for name in kernels.cpu.MAPS},
    "without a normaliser": {"normalise": False},
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_logits_and_states_are_those_of_float64(level: str, options: dict) -> None:
    """Of nine rows: what they are together they are alone, as another test says."""
    with kernels.cpu.at_level(level):
        assert_follows(tokens_model(**options), torch.randint(7, (9, 4)))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("features", [True, False])
def test_every_step_of_a_grid_sees_its_own_neighbours(level: str, features: bool) -> None:
    """From the start token to the last step that there is, past the grid's end."""
    tokens = torch.randint(4, (5, 14))
    tokens[:, 0] = torch.tensor([4, 5, 6, 4, 5])
    with kernels.cpu.at_level(level):
        assert_follows(raster_model(features=features), tokens)


@pytest.mark.parametrize("level", LEVELS)
def test_half_weights_are_those_of_a_rounded_model(level: str) -> None:
    """bfloat16 matrices of the blocks, all else in float32: no further rounding."""
    model = tokens_model(dim=48, mlp_dim=70)
    rounded = copy.deepcopy(model)
    for linear in rounded.stack.modules():
        if isinstance(linear, nn.Linear):
            linear.weight.data = linear.weight.bfloat16().float()
    tokens = torch.randint(7, (7, 4))
    with kernels.cpu.at_level(level):
        assert_follows(model, tokens, rounded, half=True)
        with pytest.raises(AssertionError):
            assert_follows(model, tokens, half=True)


@pytest.mark.parametrize("level", LEVELS)
def test_rows_and_threads_do_not_know_of_one_another(level: str, monkeypatch) -> None:
    """A row alone, among others, and on any number of threads: the same bits."""
    monkeypatch.setattr(library, "ENOUGH", 1)
    model, tokens = tokens_model(dim=40, mlp_dim=70), torch.randint(7, (59, 3))
    before = torch.get_num_threads()

    def logits(rows: Tensor) -> Tensor:
        steps, state, found = Steps(model), None, []
        for column in rows.unbind(1):
            step, state = steps(column, state)
            found.append(step)
        return torch.stack(found, 1)

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
@pytest.mark.parametrize("batch", [1, 7, 49])
def test_nothing_is_written_outside(level: str, batch: int, monkeypatch) -> None:
    """States, context, logits and scratch memory stand between guards, the latter two begin as NaN."""
    model, guards = tokens_model(outputs=70), []
    made = torch.empty

    def empty(*shape, **options) -> Tensor:
        whole = made(torch.Size(shape).numel() + 64, **options).fill_(torch.nan)
        whole[:32] = whole[-32:] = 12345
        guards.extend((whole[:32], whole[-32:]))
        return whole[32:-32].view(shape)

    with kernels.cpu.at_level(level):
        steps, tokens = Steps(model), torch.randint(7, (batch,))
        expected, state = steps(tokens)
        inside = []
        for part in (*state.context, *(layer.memory for layer in state.layers)):
            tensor, edges = guarded(tuple(part.shape), part.dtype)
            guards.append(edges)
            inside.append(tensor)
        context = Context(*inside[:3])
        context.recent.fill_(-1)
        layers = zip(state.layers, inside[3:], strict=True)
        begun = SequenceState(context, tuple(layer._replace(memory=x) for layer, x in layers))
        monkeypatch.setattr(torch, "empty", empty)
        logits, after = steps(tokens, begun)
    monkeypatch.undo()
    assert after.context.recent is context.recent, "the state goes on in place"
    assert torch.equal(logits, expected)
    assert len(guards) == 2 * 2 + 3 + len(state.layers)
    assert all((guard == 12345).all() for guard in guards)


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


@pytest.mark.parametrize("level", LEVELS)
def test_large_activations_saturate_as_the_model_does(level: str) -> None:
    """Gates and features far beyond where an exponential of float32 ends, on both sides."""
    model = tokens_model(layers=1)
    for block in model.stack.blocks:
        block.mlp.gate_value.weight.data.mul_(300.0)
        block.mixer.qkv.weight.data.mul_(100.0)
    with kernels.cpu.at_level(level):
        assert_follows(model, torch.randint(7, (9, 2)))


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
        assert found == refusal(lambda token, state: model(token[:, None], state), tokens)


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
        with pytest.raises(ValueError, match="tokens: one is out of range, or a row has no place left"):
            kernels.cpu.Decoder.step(
                steps._decoder, torch.tensor([0, 1]), *state.context, [x.memory for x in state.layers]
            )


@pytest.mark.parametrize("level", LEVELS)
def test_fading_states_cost_no_denormal_numbers(level: str) -> None:
    """They are 0 inside, and the processor's mode is put back."""
    model = tokens_model()
    with kernels.cpu.at_level(level):
        steps = Steps(model)
        _, state = steps(torch.tensor([1]))
        state.layers[0].memory.fill_(1e-40)
        logits, _ = steps(torch.tensor([1]), state)
    assert logits.isfinite().all()
    assert (torch.tensor([1e-40]) * 0.5).item() > 0


def test_the_structures_have_the_sizes_of_the_fields_in_c() -> None:
    """Eight bytes each, in one order on both sides: what is wrong there shows in every other test."""
    matrix = ctypes.sizeof(decode._Matrix)
    assert matrix == 8 * 4
    assert ctypes.sizeof(decode._Block) == 8 * (2 + 5 + 1) + 4 * matrix
    assert ctypes.sizeof(decode._Embedding) == 8 * 10
    assert ctypes.sizeof(decode._Step) == 8 * (3 + 1 + 1 + 6 + 1) + matrix + 8 * 10


def test_tied_weights_and_any_model_of_tokens_are_covered() -> None:
    sequence = SequenceConfig(dim=16, layers=1, mlp_dim=8)
    model = TokenModelConfig(vocabulary=11, tied=True, sequence=sequence).build()
    assert_follows(awake(model), torch.randint(11, (3, 6)))
