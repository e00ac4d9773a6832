"""Generation with the state draws what re-running the whole prefix draws, under the law it says."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from linsight.models.sequence import RasterEmbedding, SequenceModel, generate

PROMPTS = torch.tensor([[1, 2, 3, 4, 5], [6, 5, 0, 0, 0], [3, 0, 0, 0, 0]])
LENGTHS = torch.tensor([5, 2, 1])


def _greedy_by_prefix(model: SequenceModel, prompt: list[int], num_steps: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(num_steps):
        logits, _ = model(torch.tensor([tokens]))
        tokens.append(int(logits[0, -1].argmax()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("places", [None, 24])
def test_greedy_tokens_are_those_of_the_whole_prefix_at_every_step(token_model, pattern: str, places) -> None:
    """In float64, for prompts of different lengths together and for each alone."""
    model = token_model(pattern, max_length=places)
    prompts = [row[:length] for row, length in zip(PROMPTS.tolist(), LENGTHS.tolist(), strict=True)]
    expected = [_greedy_by_prefix(model, prompt, 20) for prompt in prompts]
    together = generate(model, PROMPTS, 20, lengths=LENGTHS, greedy=True)
    assert together.tolist() == expected
    for prompt, tokens in zip(prompts, expected, strict=True):
        assert generate(model, torch.tensor([prompt]), 20, greedy=True).tolist() == [tokens]
    assert len({token for row in expected for token in row}) > 2, "the model says the same all the time"


def test_greedy_tokens_of_a_raster_are_those_of_the_whole_prefix(sequence_config, pattern: str) -> None:
    """Prompts end in different rows of the grid, and the last cell of all is drawn too."""
    embedding = RasterEmbedding(4, 2, (4, 3), 8, neighbours=((0, -1), (-1, 0), (-2, 1)))
    model = SequenceModel(embedding, sequence_config(pattern), 4).double()
    torch.nn.init.normal_(model.head.weight, std=2.0)
    prompts = torch.tensor([[4, 1, 2, 3, 0], [5, 2, 0, 0, 0]])
    found = generate(model, prompts, 8, lengths=torch.tensor([5, 2]), greedy=True)
    assert found.tolist() == [
        _greedy_by_prefix(model, [4, 1, 2, 3, 0], 8),
        _greedy_by_prefix(model, [5, 2], 8),
    ]
    assert generate(model, prompts[:1, :1], 12, greedy=True).tolist() == [_greedy_by_prefix(model, [4], 12)]


@pytest.mark.parametrize("padding", [-1, 3, 99])
def test_what_pads_a_prompt_changes_nothing(token_model, padding: int) -> None:
    model = token_model("mixed")
    prompts = PROMPTS.clone()
    prompts[torch.arange(5) >= LENGTHS[:, None]] = padding
    found = generate(model, prompts, 6, lengths=LENGTHS, greedy=True)
    assert torch.equal(found, generate(model, PROMPTS, 6, lengths=LENGTHS, greedy=True))


def test_a_generator_decides_the_draw_alone(token_model) -> None:
    """The same seed draws the same, another does not; the global random state is neither read nor moved."""
    model = token_model("linear")

    def draw(seed: int) -> Tensor:
        return generate(model, PROMPTS, 30, lengths=LENGTHS, generator=torch.Generator().manual_seed(seed))

    before = torch.get_rng_state()
    first = draw(1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert torch.equal(draw(1), first)
    assert not torch.equal(draw(2), first)


def _allowed(logits: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Probabilities under top-k, then top-p, by plain loops."""
    weights = dict(enumerate(logits.softmax(-1).tolist()))
    ranked = sorted(weights, key=lambda token: -weights[token])[:top_k]
    total = sum(weights[token] for token in ranked)
    kept, reached = [], 0.0
    for token in ranked:
        if top_p is not None and reached >= top_p * total:
            break
        kept.append(token)
        reached += weights[token]
    shares = [weights[token] / reached if token in kept else 0.0 for token in range(len(weights))]
    return torch.tensor(shares, dtype=torch.float64)


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.8}, {"temperature": 1.7, "top_k": 3, "top_p": 0.9}],
    ids=str,
)
def test_sampled_frequencies_are_those_of_the_law(token_model, options: dict) -> None:
    """Pairs of tokens, drawn 8,000 times: chi-square against the enumerated law of both, p > 1e-4."""
    model = token_model("mixed", vocabulary=5)
    temperature = options.get("temperature", 1.0)
    prompt, number = torch.tensor([[2, 4]]), 8000

    def law(tokens: Tensor) -> Tensor:
        logits = model(tokens)[0][0, -1].detach() / temperature
        return _allowed(logits, options.get("top_k"), options.get("top_p"))

    first = law(prompt)
    second = torch.stack([law(torch.cat([prompt, torch.tensor([[token]])], dim=1)) for token in range(5)])
    expected = (number * first[:, None] * second).flatten()
    generator = torch.Generator().manual_seed(3)
    drawn = generate(model, prompt.expand(number, -1), 2, generator=generator, **options)
    counts = torch.bincount(5 * drawn[:, 0] + drawn[:, 1], minlength=25).double()
    assert counts[expected == 0].sum() == 0
    common = expected >= 5
    found, law_of_cells = (
        torch.cat([part[common], part[~common].sum()[None] + 1e-9]) for part in (counts, expected)
    )
    assert common.sum() >= 4
    assert stats.chisquare(found.numpy(), law_of_cells.numpy()).pvalue > 1e-4


def test_cold_draws_are_the_greedy_tokens_and_so_is_the_likeliest_alone(token_model) -> None:
    model = token_model("linear")
    greedy = generate(model, PROMPTS, 12, lengths=LENGTHS, greedy=True)
    for options in ({"temperature": 1e-6}, {"top_k": 1}, {"top_p": 1e-6}):
        assert torch.equal(generate(model, PROMPTS, 12, lengths=LENGTHS, **options), greedy)


@pytest.mark.parametrize("greedy", [True, False])
def test_num_tokens_leaves_the_later_tokens_out(token_model, greedy: bool) -> None:
    model = token_model("linear")
    model.head.bias.data[4:] += 20.0
    prompts = torch.randint(7, (50, 3))
    assert generate(model, prompts, 10, greedy=greedy).min() >= 4
    found = generate(model, prompts, 10, greedy=greedy, num_tokens=3)
    assert found.max() < 3
    if greedy:
        expected = model(prompts)[0][:, -1, :3].argmax(-1)
        assert torch.equal(found[:, 0], expected)


def test_no_steps_and_no_rows_give_no_tokens(token_model) -> None:
    model = token_model("mixed", max_length=5)
    for steps in (0, 3):
        found = generate(model, PROMPTS[:, :3][: 0 if steps else None], steps)
        assert found.shape == (0 if steps else 3, steps)
        assert found.dtype == torch.int64
    assert generate(model, torch.zeros(2, 5, dtype=torch.int64), 0).shape == (2, 0)


def test_what_was_drawn_can_be_learned_from(token_model) -> None:
    """Drawing records no gradients, and leaves none of its marks on the tokens."""
    model = token_model("linear")
    tokens = generate(model, PROMPTS, 4, lengths=LENGTHS)
    model(tokens)[0].log_softmax(-1).gather(2, tokens[..., None]).sum().backward()
    assert model.embedding.tokens.weight.grad is not None


def test_the_longest_draw_uses_every_place(token_model) -> None:
    model = token_model("linear", max_length=8)
    assert generate(model, PROMPTS, 4, lengths=LENGTHS).shape == (3, 4)
    with pytest.raises(ValueError, match="the model allows 8 steps in all, 5 given and 5 to draw need 9"):
        generate(model, PROMPTS, 5, lengths=LENGTHS)
    with pytest.raises(ValueError, match="shorten the prompt or draw fewer"):
        generate(model, torch.zeros(1, 9, dtype=torch.int64), 1)


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        (PROMPTS[:, :0], {}, r"prompts: expected shape \(batch, length >= 1\), got \(3, 0\)"),
        (PROMPTS[0], {}, r"prompts: expected shape \(batch, length >= 1\), got \(5,\)"),
        (
            PROMPTS,
            {"lengths": torch.tensor([5, 0, 1])},
            r"lengths: expected 3 integers from 1 to 5, got \[5, 0",
        ),
        (
            PROMPTS,
            {"lengths": torch.tensor([6, 2, 1])},
            r"lengths: expected 3 integers from 1 to 5, got \[6, 2",
        ),
        (
            PROMPTS,
            {"lengths": torch.tensor([5, 2])},
            r"lengths: expected 3 integers from 1 to 5, got \[5, 2\]",
        ),
        (PROMPTS, {"temperature": 0.0}, r"temperature: expected a number above 0, got 0.0"),
        (PROMPTS, {"temperature": math.nan}, r"temperature: expected a number above 0, got nan"),
        (PROMPTS, {"top_k": 0}, r"top_k: expected at least 1, got 0"),
        (PROMPTS, {"top_p": 0.0}, r"top_p: expected a number in \(0, 1\], got 0.0"),
        (PROMPTS, {"top_p": 1.1}, r"top_p: expected a number in \(0, 1\], got 1.1"),
        (PROMPTS, {"num_tokens": -1}, r"num_tokens: expected 1 to 7, got -1"),
        (PROMPTS, {"num_tokens": 8}, r"num_tokens: expected 1 to 7, got 8"),
        (PROMPTS, {"num_steps": -1}, r"num_steps: expected at least 0, got -1"),
        (PROMPTS + 3, {}, r"tokens: expected 0 to 6, got 9"),
    ],
    ids=lambda value: str(value) if isinstance(value, str | dict) else "",
)
def test_what_cannot_be_drawn_is_refused(token_model, prompts: Tensor, options: dict, message: str) -> None:
    options = {"num_steps": 2, **options}
    with pytest.raises(ValueError, match=message):
        generate(token_model("linear"), prompts, **options)
