"""Steps of loops that draw: which engine runs, the same draws by each, states that go on from long calls."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from linsight import kernels
from linsight.mixers import config
from linsight.models.sequence import (
    ImageDensityConfig,
    SequenceConfig,
    Steps,
    TokenModelConfig,
    decode_error,
    generate,
    why_eager,
)

needs_library = pytest.mark.skipif(not kernels.cpu.levels(), reason=f"no library: {kernels.cpu.why_not()}")
PROMPTS = torch.tensor([[1, 2, 3, 4, 5], [6, 5, 0, 0, 0], [3, 0, 0, 0, 0]])
LENGTHS = torch.tensor([5, 2, 1])


@pytest.fixture
def model(token_model):
    """Of two linear layers, in float32, with places for 24 tokens."""
    return token_model("linear", max_length=24).float().requires_grad_(False)


@needs_library
def test_compiled_steps_continue_ragged_prompts(model) -> None:
    """The state of a long call, whose rows end in different places, goes on to float64's logits."""
    exact = copy.deepcopy(model).double()
    tokens = torch.randint(7, (3, 6))
    steps, (_, state), (_, expected) = (
        Steps(model),
        model(PROMPTS, None, LENGTHS),
        exact(PROMPTS, None, LENGTHS),
    )
    assert steps.reason is None
    for column in tokens.unbind(1):
        logits, state = steps(column, state)
        wanted, expected = exact(column[:, None], expected)
        torch.testing.assert_close(logits.double(), wanted[:, 0], rtol=1e-5, atol=1e-5)
    assert torch.equal(state.context.position, LENGTHS + 6)


@needs_library
def test_a_state_whose_rows_share_memory_is_copied_before_it_is_changed(model) -> None:
    """One prompt continued in several ways: an expanded state has the memory of one row."""
    _, state = model(PROMPTS[:1])
    _, kept = model(PROMPTS[:1])

    def expand(part):
        if isinstance(part, torch.Tensor):
            return part.expand(3, *part.shape[1:])
        parts = [expand(one) for one in part]
        return type(part)(*parts) if hasattr(part, "_fields") else tuple(parts)

    tokens = torch.tensor([0, 3, 6])
    logits, _ = Steps(model)(tokens, expand(state))
    for row in range(3):
        wanted, _ = model(tokens[row : row + 1, None], kept)
        torch.testing.assert_close(logits[row], wanted[0, 0], rtol=1e-5, atol=1e-5)
    assert torch.equal(state.layers[0].memory, kept.layers[0].memory)


@needs_library
def test_the_first_step_needs_no_state(model) -> None:
    first, _ = Steps(model)(PROMPTS[:, 0])
    torch.testing.assert_close(first, model(PROMPTS[:, :1])[0][:, 0], rtol=1e-5, atol=1e-5)


@needs_library
@pytest.mark.parametrize("options", [{"greedy": True}, {}, {"temperature": 0.7, "top_k": 4}])
def test_both_engines_draw_the_same_tokens(model, options: dict) -> None:
    """At temperature 0, and by the same uniform numbers; logits differ by rounding alone."""

    def drawn(level: str):
        with kernels.cpu.at_level(level):
            generator = torch.Generator().manual_seed(4)
            return generate(model, PROMPTS, 19, lengths=LENGTHS, generator=generator, **options)

    eager = drawn("off")
    for level in kernels.cpu.levels():
        assert torch.equal(drawn(level), eager)
    assert len(eager.unique()) > 2


@needs_library
@pytest.mark.parametrize(
    "kind",
    ["retnet", "mamba2", "gated_delta", "mamba", "rwkv6", "rwkv7", "performer", "norm_attention"],
)
def test_both_engines_draw_the_same_tokens_with_every_mixer(kind: str) -> None:
    """By the same uniform numbers, after ragged prompts."""
    sequence = SequenceConfig(dim=16, layers=2, mlp_dim=12, mixers=(config(kind),))
    model = TokenModelConfig(vocabulary=7, sequence=sequence).build().eval().requires_grad_(False)
    nn.init.normal_(model.head.weight)
    assert why_eager(model) is None

    def drawn(level: str):
        with kernels.cpu.at_level(level):
            generator = torch.Generator().manual_seed(4)
            return generate(model, PROMPTS, 19, lengths=LENGTHS, generator=generator)

    eager = drawn("off")
    assert torch.equal(drawn(kernels.cpu.levels()[0]), eager)
    assert len(eager.unique()) > 2


@needs_library
@pytest.mark.parametrize("options", [{}, {"label": "first"}, {"temperature": 1e-4}])
def test_both_engines_draw_the_same_images(image_density, options: dict) -> None:
    density = image_density(layers=2).float()
    assert why_eager(density.network.requires_grad_(False)) is None

    def drawn(level: str):
        with kernels.cpu.at_level(level):
            return density.sample(60, generator=torch.Generator().manual_seed(4), **options)

    eager = drawn("off")
    assert torch.equal(drawn(kernels.cpu.levels()[0]), eager)
    assert len(eager.flatten(1).unique(dim=0)) > 1


@needs_library
def test_what_compression_relies_on_does_not_depend_on_the_engine(image_density) -> None:
    """`begin` and `feed` are the model's own calls, bit for bit, whatever library there is."""
    density = image_density(layers=2).float()
    cells, starts = torch.randint(16, (5, 3)), density.starts(5)

    def logits(level: str) -> list[torch.Tensor]:
        with kernels.cpu.at_level(level), torch.no_grad():
            state = density.begin(starts)
            found = [density.read(state)]
            for cell in cells.split(1, dim=1):
                state = density.feed(state, cell)
                found.append(density.read(state))
            return found

    pairs = zip(logits("off"), logits(kernels.cpu.levels()[0]), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@needs_library
@pytest.mark.parametrize("pattern", ["linear", "softmax", "mixed"])
def test_a_walk_one_way_reads_what_feeding_reads(image_density, pattern: str) -> None:
    """Several cells at once among them, and the end, where nothing follows."""
    density = image_density(pattern, label="none").float()
    starts, cells = density.starts(4), torch.randint(16, (4, 4))
    with torch.no_grad():
        begin, feed = density.one_way()
        found, state = begin(starts), density.begin(starts)
        for piece in cells.split([1, 2, 1], dim=1):
            torch.testing.assert_close(density.read(found), density.read(state), rtol=1e-5, atol=1e-5)
            found, state = feed(found, piece), density.feed(state, piece)
    assert found.cells == state.cells == 4


def test_without_a_library_steps_are_the_models_own(model) -> None:
    with kernels.cpu.at_level("off"):
        steps = Steps(model)
        assert steps.reason in ("turned off", kernels.cpu.why_not())
        logits, state = steps(PROMPTS[:, 0])
        again, _ = steps(PROMPTS[:, 1], state)
        with pytest.raises(ValueError, match="half: only the compiled step has it, and here it does not run"):
            Steps(model, half=True)
    assert torch.equal(logits, model(PROMPTS[:, :1])[0][:, 0])
    assert torch.equal(again, model(PROMPTS[:, 1:2], model(PROMPTS[:, :1])[1])[0][:, 0])


HIDDEN = """
import sys
from pathlib import Path
import torch
from linsight.kernels.cpu import library
from linsight.mixers import config
from linsight.models.sequence import ImageDensityConfig, SequenceConfig, why_eager

library.LIBRARY = Path("nowhere")
torch.manual_seed(0)
sequence = SequenceConfig(dim=8, layers=1, mlp_dim=8, mixers=(config("linear", heads=2),))
density = ImageDensityConfig(height=8, width=8, sequence=sequence).build().requires_grad_(False)
print(why_eager(density.network))
print(density.sample(5, generator=torch.Generator().manual_seed(0)).flatten().tolist())
"""


def test_where_no_library_was_built_samples_are_drawn_all_the_same() -> None:
    """A fresh process that finds none says why, and draws what any other draws."""
    done = subprocess.run([sys.executable, "-c", HIDDEN], capture_output=True, text=True, check=True)
    reason, drawn = done.stdout.splitlines()
    assert reason == "not built: `linsight doctor --build` builds it where there is a C++ compiler"
    torch.manual_seed(0)
    sequence = SequenceConfig(dim=8, layers=1, mlp_dim=8, mixers=(config("linear", heads=2),))
    density = ImageDensityConfig(height=8, width=8, sequence=sequence).build().requires_grad_(False)
    assert density.sample(5, generator=torch.Generator().manual_seed(0)).flatten().tolist() == json.loads(
        drawn
    )


@needs_library
def test_the_self_check_of_steps_sees_rounding_alone_and_is_refused_without_kernels() -> None:
    assert 0 < decode_error() < 2e-6
    with kernels.cpu.at_level("off"), pytest.raises(ValueError, match="no compiled step: turned off"):
        decode_error()


def _hooked(model):
    model.stack.blocks[1].mlp.register_forward_hook(lambda *_: None)


def _subclassed(model):
    class Mine(nn.Linear):
        pass

    model.stack.blocks[0].mixer.out.__class__ = Mine


def _two_dtypes(model):
    model.stack.norm.double()


def _own_forward(model):
    model.head.forward = lambda h: h


REASONS = {
    "float64": (lambda m: m.double(), "computes in float32 alone"),
    "bfloat16": (lambda m: m.bfloat16(), "computes in float32 alone"),
    "meta": (lambda m: m.to("meta"), "runs on cpu alone"),
    "hook": (_hooked, "stack.blocks.1.mlp has a hook"),
    "subclass": (_subclassed, "stack.blocks.0.mixer.out is of type Mine"),
    "own forward": (_own_forward, "head has a hook"),
    "two dtypes": (_two_dtypes, "its weights have several dtypes or devices"),
    "form": (lambda m: setattr(m.stack.mixers[1], "form", "naive"), "stack.blocks.1.mixer has form 'naive'"),
    "gradients": (lambda m: m.requires_grad_(True), "gradients are recorded"),
    "group": (lambda m: setattr(m.stack, "group", object()), "stack is spread over ranks"),
}


@needs_library
@pytest.mark.parametrize(("change", "reason"), REASONS.values(), ids=REASONS)
def test_every_reason_to_run_the_models_own_step_is_told(model, change, reason: str) -> None:
    change(model)
    assert why_eager(model) == reason


@needs_library
def test_a_stack_whose_first_layer_is_missing_is_refused_in_the_models_words() -> None:
    """Later ones of `rwkv7` read its values, and other mixers before them have none."""
    mixers = (config("linear", heads=2), config("rwkv7", heads=2))
    sequence = SequenceConfig(dim=8, layers=4, mlp_dim=8, mixers=mixers)
    model = TokenModelConfig(vocabulary=3, sequence=sequence).build().requires_grad_(False)
    assert why_eager(model) is None
    model.stack.blocks.append(model.stack.blocks.pop(1))
    steps = Steps(model)
    assert steps.reason == "stack reads values of a first layer that it has not"
    with pytest.raises(ValueError, match="v_first: layer 1 of mixer 'rwkv7' needs the first layer's values"):
        steps(torch.tensor([1]))


@needs_library
def test_mixers_and_maps_that_are_not_covered_are_named() -> None:
    for mixer, reason in (
        (config("softmax"), "stack.blocks.0.mixer is of type SoftmaxAttention"),
        (config("linear", feature_map="dpfp"), "stack.blocks.0.mixer has feature map 'dpfp'"),
        (config("mamba2", step_limits=(0.0, 1.0)), "stack.blocks.0.mixer has limits of its steps"),
    ):
        sequence = SequenceConfig(dim=8, layers=1, mixers=(mixer,))
        built = TokenModelConfig(vocabulary=3, sequence=sequence).build().requires_grad_(False)
        assert why_eager(built) == reason
    redrawn = SequenceConfig(dim=8, layers=1, mixers=(config("performer"),))
    built = TokenModelConfig(vocabulary=3, sequence=redrawn).build().requires_grad_(False)
    assert why_eager(built.eval()) is None
    reason = "stack.blocks.0.mixer.projection draws its features anew in training"
    assert why_eager(built.train()) == reason
    with torch.autocast("cpu"):
        built = TokenModelConfig(vocabulary=3).build().requires_grad_(False)
        assert why_eager(built) == "autocast is on"
    assert why_eager(nn.Linear(2, 2)) == "there is no compiled step of Linear"
