"""Embeddings obey the split law, whatever the pieces and however ragged the rows."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linsight.models.sequence import Context, RasterEmbedding, TokenEmbedding

NEAR = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))
FAR = ((-2, 2), (0, -1), (-3, -4))
VOCABULARY, STARTS = 6, 3


def _raster(neighbours=NEAR, grid=(3, 5), extra_steps=1, dim=4, features=None) -> RasterEmbedding:
    embedding = RasterEmbedding(
        VOCABULARY, STARTS, grid, dim, neighbours=neighbours, features=features, extra_steps=extra_steps
    )
    return embedding.double()


def _tokens(batch: int, length: int) -> Tensor:
    """A start token and cells."""
    tokens = torch.randint(VOCABULARY, (batch, length))
    tokens[:, 0] = VOCABULARY + torch.arange(batch) % STARTS
    return tokens


def _by_definition(embedding: RasterEmbedding, row: Sequence[int], columns: int, neighbours) -> Tensor:
    """u of every step of one row of tokens, from the grid as a whole."""
    start, *cells = row
    steps = []
    for step in range(len(row)):
        at_row, at_column = divmod(step, columns)
        u = embedding.starts.weight[start - VOCABULARY]
        u = u + embedding.rows.weight[at_row] + embedding.columns.weight[at_column]
        for number, (down, right) in enumerate(neighbours):
            r, c = at_row + down, at_column + right
            before = r * columns + c
            seen = step > 0 if before == step - 1 else r >= 0 and 0 <= c < columns
            value = cells[before] if seen else VOCABULARY
            u = u + embedding.cells.weight[number * (VOCABULARY + 1) + value]
            if embedding.from_features is not None and value < VOCABULARY:
                features = embedding.features[value]
                own = slice(number * len(features), (number + 1) * len(features))
                u = u + embedding.from_features.weight[:, own] @ features
        steps.append(u)
    return torch.stack(steps)


def _in_pieces(embedding, tokens: Tensor, cuts: Sequence[int]) -> tuple[Tensor, Context]:
    context, outputs = None, []
    for first, last in zip((0, *cuts), (*cuts, tokens.shape[1]), strict=True):
        u, context = embedding(tokens[:, first:last], context)
        outputs.append(u)
    return torch.cat(outputs, dim=1), context


def _assert_contexts(found: Context, expected: Context) -> None:
    for name, one, other in zip(Context._fields, found, expected, strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("features", [None, torch.randn(VOCABULARY, 3)], ids=["values", "features"])
@pytest.mark.parametrize(
    ("grid", "neighbours", "extra"),
    [
        ((3, 5), NEAR, 1),
        ((3, 5), NEAR, 0),
        ((4, 5), FAR, 0),
        ((5, 1), ((-1, 0), (-3, 0)), 1),
        ((1, 6), NEAR[:1], 8),
    ],
)
def test_the_raster_embedding_is_its_definition_on_the_whole_grid(
    grid, neighbours, extra: int, features
) -> None:
    """Neighbours off the grid on all three sides, and steps after the last cell."""
    embedding = _raster(neighbours, grid, extra, features=features)
    length = grid[0] * grid[1] + extra
    tokens = _tokens(3, length)
    u, context = embedding(tokens)
    expected = torch.stack([_by_definition(embedding, row, grid[1], neighbours) for row in tokens.tolist()])
    torch.testing.assert_close(u, expected, rtol=1e-12, atol=1e-12)
    assert embedding.max_length == length
    assert torch.equal(context.start, tokens[:, 0])
    assert torch.equal(context.recent, tokens[:, length - embedding.window :])
    assert torch.equal(context.position, torch.full((3,), length))


@pytest.mark.parametrize("kind", ["raster", "far", "features", "tokens", "positions"])
@given(cuts=st.sets(st.integers(1, 14), max_size=14))
@settings(max_examples=25)
def test_pieces_with_the_context_carried_are_the_whole(kind: str, cuts: set[int]) -> None:
    torch.manual_seed(1)
    embedding = {
        "raster": lambda: _raster(extra_steps=0),
        "far": lambda: _raster(FAR, extra_steps=0),
        "features": lambda: _raster(extra_steps=0, features=torch.randn(VOCABULARY, 3)),
        "tokens": lambda: TokenEmbedding(VOCABULARY + STARTS, 4).double(),
        "positions": lambda: TokenEmbedding(VOCABULARY + STARTS, 4, max_length=15).double(),
        "previous": lambda: TokenEmbedding(VOCABULARY + STARTS, 4, previous=3).double(),
    }[kind]()
    tokens = _tokens(2, 15)
    whole, final = embedding(tokens)
    pieces, carried = _in_pieces(embedding, tokens, sorted(cuts))
    torch.testing.assert_close(pieces, whole, rtol=1e-13, atol=1e-13)
    _assert_contexts(carried, final)


@pytest.mark.parametrize("padding", [0, -1, 10_000])
@pytest.mark.parametrize("kind", ["raster", "features", "positions", "previous"])
def test_a_ragged_row_is_the_row_alone_whatever_its_padding_holds(kind: str, padding: int) -> None:
    """Two ragged pieces; a row may be empty in either."""
    embedding = {
        "raster": lambda: _raster(),
        "features": lambda: _raster(features=torch.randn(VOCABULARY, 3)),
        "positions": lambda: TokenEmbedding(VOCABULARY + STARTS, 4, max_length=16).double(),
        "previous": lambda: TokenEmbedding(VOCABULARY + STARTS, 4, previous=3).double(),
    }[kind]()
    tokens = _tokens(4, 11)
    sizes = torch.tensor([[5, 6], [2, 0], [0, 4], [1, 5]])
    contexts, outputs = None, []
    for piece in range(2):
        batch = torch.full((4, int(sizes[:, piece].max())), padding)
        for row, (first, second) in enumerate(sizes.tolist()):
            part = tokens[row, :first] if piece == 0 else tokens[row, first : first + second]
            batch[row, : len(part)] = part
        u, contexts = embedding(batch, contexts, sizes[:, piece])
        outputs.append(u)
    for row, (first, second) in enumerate(sizes.tolist()):
        alone, context = embedding(tokens[row : row + 1, : first + second])
        together = torch.cat([outputs[0][row, :first], outputs[1][row, :second]])
        torch.testing.assert_close(together, alone[0], rtol=1e-13, atol=1e-13)
        _assert_contexts(Context(*(part[row : row + 1] for part in contexts)), context)


def test_token_positions_are_added_from_where_the_context_stands() -> None:
    embedding = TokenEmbedding(5, 3, max_length=4).double()
    assert embedding.positions is not None
    tokens = torch.tensor([[4, 0, 2, 2]])
    expected = embedding.tokens.weight[tokens] + embedding.positions.weight
    torch.testing.assert_close(embedding(tokens)[0], expected, rtol=0, atol=0)
    bare = TokenEmbedding(5, 3).double()
    assert torch.equal(bare(tokens)[0], bare.tokens.weight[tokens])


def test_earlier_tokens_are_added_each_from_its_own_table() -> None:
    """Row 5 of a table of 5 + 1 stands for what is before the first token."""
    embedding = TokenEmbedding(5, 3, max_length=4, previous=2).double()
    assert embedding.earlier is not None
    assert embedding.positions is not None
    two_back, one_back = embedding.earlier.weight.split(6)
    expected = embedding.tokens.weight[[4, 0, 2, 2]] + embedding.positions.weight
    expected = expected + one_back[[5, 4, 0, 2]] + two_back[[5, 5, 4, 0]]
    found = embedding(torch.tensor([[4, 0, 2, 2]]))[0][0]
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("kind", ["raster", "tokens"])
def test_more_tokens_than_there_are_places_are_refused(kind: str) -> None:
    embedding = _raster() if kind == "raster" else TokenEmbedding(9, 4, max_length=16)
    tokens = _tokens(2, 17)
    with pytest.raises(ValueError, match="tokens: the model allows 16 steps in all, these would reach 17"):
        embedding(tokens)
    _, context = embedding(tokens[:, :16])
    with pytest.raises(ValueError, match="the model allows 16 steps in all, these would reach 17"):
        embedding(tokens[:, 16:], context)


def test_token_values_out_of_range_are_refused() -> None:
    """A negative token is no token 0, and a start token in the grid is no cell of another table."""
    with pytest.raises(ValueError, match="tokens: expected 0 to 4, got -3"):
        TokenEmbedding(5, 3)(torch.tensor([[1, -3]]))
    with pytest.raises(ValueError, match="tokens: expected 0 to 4, got 5"):
        TokenEmbedding(5, 3)(torch.tensor([[5, 0]]))
    with pytest.raises(ValueError, match=r"tokens: expected 6 to 8 \(start tokens\) first, got 2"):
        _raster()(torch.tensor([[6, 1], [2, 1]]))
    for wrong in (6, -1):
        with pytest.raises(ValueError, match=f"tokens: expected 0 to 5 after the start token, got {wrong}"):
            _raster()(torch.tensor([[6, 1, wrong]]))
    _, context = _raster()(torch.tensor([[6, 1]]))
    with pytest.raises(ValueError, match="tokens: expected 0 to 5 after the start token, got 7"):
        _raster()(torch.tensor([[7]]), context)


@pytest.mark.parametrize("offset", [(0, 0), (0, 1), (1, -1), (-1, 5), (-1, -5)])
def test_neighbours_that_are_not_known_yet_are_refused(offset: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="neighbours: expected offsets earlier in raster order within 5"):
        _raster(neighbours=((0, -1), offset))


@pytest.mark.parametrize("neighbours", [(), ((-1, 0),)])
def test_without_the_cell_before_the_last_of_a_line_would_not_be_read(neighbours) -> None:
    with pytest.raises(ValueError, match=r"neighbours: expected \(0, -1\) among them"):
        _raster(neighbours=neighbours)
