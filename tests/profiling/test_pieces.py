"""What a piece of a row has to tell: its size, and that so many numbers are what its transition has."""

import pytest
import torch

from linsight import mixers
from linsight.profiling import PieceBytes, on_paper, piece_bytes
from linsight.profiling.pieces import TRANSITIONS

OPTIONS = {
    "linear": {"heads": 2},
    "retnet": {"heads": 2},
    "s4d": {},
    "mamba": {"states": 4},
    "mamba2": {"states": 8, "head_dim": 4},
    "gated_delta": {"heads": 2},
}


def built(kind):
    torch.manual_seed(0)
    return mixers.build(kind, dim=16, **OPTIONS[kind]).double()


def ends(mixer, starts, seed=0):
    """The memory after the same piece of a row, from each of the memories before it."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 7, 16, dtype=torch.float64, generator=generator)
    _, state = mixer(torch.randn(1, 5, 16, dtype=torch.float64, generator=generator))
    name = memory_of(mixer)
    with torch.no_grad():
        return [getattr(mixer(x, state._replace(**{name: start}))[1], name) for start in starts]


def memory_of(mixer):
    (name,) = set(mixer.initial_state(1)._fields) - set(mixer.keeps) - {"position"}
    return name


def drawn(mixer, number):
    memory = getattr(mixer.initial_state(1), memory_of(mixer))
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(memory.shape, dtype=torch.float64, generator=generator) for _ in range(number)]


def test_every_kind_that_is_counted_is_proven():
    assert OPTIONS.keys() == TRANSITIONS.keys()


@pytest.mark.parametrize("kind", OPTIONS)
def test_the_parts_are_the_state_without_its_positions(kind):
    mixer = built(kind).float()
    state = mixer.initial_state(1)
    piece = piece_bytes(kind, mixer)
    positions = state.position.nbytes if "position" in state._fields else 0
    assert piece.written + piece.margin == mixer.state_size(1) - positions
    assert piece.written == getattr(state, memory_of(mixer)).nbytes
    assert piece.margin == sum(getattr(state, name).nbytes for name in mixer.keeps)
    assert piece.gathered == piece.written + piece.transition


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_piece_changes_the_memory_by_an_affine_map(kind):
    mixer = built(kind)
    one, other = drawn(mixer, 2)
    zero = torch.zeros_like(one)
    written, of_one, of_other, of_both = ends(mixer, [zero, one, other, 2 * one - 3 * other])
    torch.testing.assert_close(of_both - written, 2 * (of_one - written) - 3 * (of_other - written))


@pytest.mark.parametrize("kind", ["linear", "retnet", "s4d"])
def test_a_transition_that_is_not_sent_is_the_same_for_all_tokens(kind):
    mixer = built(kind)
    (one,) = drawn(mixer, 1)
    changes = [end - written for end, written in (ends(mixer, [one, 0 * one], seed) for seed in (1, 2))]
    torch.testing.assert_close(*changes)
    assert piece_bytes(kind, mixer).transition == 0


@pytest.mark.parametrize(("kind", "alike"), [("mamba", ()), ("mamba2", (2, 3))])
def test_a_decay_has_a_number_for_each_of_what_decays_alike(kind, alike):
    """Of mamba every number of the memory, of mamba2 every head."""
    mixer = built(kind)
    one, other = drawn(mixer, 2)
    written, *found = ends(mixer, [0 * one, one, other])
    decays = [(end - written) / start for end, start in zip(found, (one, other), strict=True)]
    torch.testing.assert_close(*decays, rtol=1e-6, atol=1e-8)
    needed = decays[0].mean(alike, keepdim=True) if alike else decays[0]
    torch.testing.assert_close(decays[0], needed.expand_as(one), rtol=1e-6, atol=1e-8)
    assert needed.unique().numel() == needed.numel() == (32 * 4 if kind == "mamba" else 8)
    assert piece_bytes(kind, mixer).transition == 8 * needed.numel()


def test_the_delta_rule_has_a_matrix_between_the_keys_of_each_head():
    """The same matrix for every value, and it is no diagonal one."""
    mixer = built("gated_delta")
    one, other = drawn(mixer, 2)
    _, heads, keys, _ = one.shape
    units = []
    for row in range(keys):
        start = torch.zeros_like(one)
        start[:, :, row] = 1
        units.append(start)
    written, of_other, *found = ends(mixer, [0 * one, other, *units])
    matrix = torch.stack([(end - written)[0, :, :, 0] for end in found], dim=-1)
    torch.testing.assert_close(of_other - written, matrix @ other)
    assert (matrix - torch.diag_embed(matrix.diagonal(dim1=-2, dim2=-1))).abs().max() > 1e-3
    assert piece_bytes("gated_delta", mixer).transition == 8 * matrix.numel() == 8 * heads * keys**2


@pytest.mark.parametrize("kind", OPTIONS)
def test_shapes_alone_tell_the_same(kind):
    def told() -> PieceBytes:
        return piece_bytes(kind, mixers.build(kind, dim=64))

    assert on_paper(told) == told()


@pytest.mark.parametrize(("kind", "why"), [("softmax", "every key and value"), ("flash", "got 'flash'$")])
def test_what_has_no_pieces_is_refused(kind, why):
    with pytest.raises(ValueError, match=f"expected one of linear, retnet, .*{why}"):
        piece_bytes(kind, mixers.build(kind, dim=64))
