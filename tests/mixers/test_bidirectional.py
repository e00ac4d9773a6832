"""Two passes of a causal mixer: each row's two directions by hand, the mirror, the weights, the refusals."""

import pytest
import torch

from linsight import mixers
from linsight.mixers.bidirectional import Bidirectional
from linsight.models.sequence import SequenceConfig, Stack
from linsight.optim import param_groups

INNER = [
    mixers.config("linear", heads=2),
    mixers.config("softmax", heads=2, positions="rotary"),
    mixers.config("flash", key_dim=4, chunk=6),
]


def built(inner, **options) -> Bidirectional:
    torch.manual_seed(0)
    return mixers.build("bidirectional", dim=8, causal=False, mixer=inner, **options).double()


@pytest.mark.parametrize("inner", INNER, ids=lambda config: config.kind)
@pytest.mark.parametrize("shared", [True, False])
def test_it_is_the_sum_of_a_pass_from_each_end_of_the_row(inner, shared, trial, signal):
    """Fails where padding enters the backward pass, or a row is reversed beyond its own length."""
    mixer, x, lengths = built(inner, shared=shared), signal(4, 13, 8), torch.tensor([13, 5, 1, 0])
    y, state = mixer(x, None, lengths)
    assert state is None
    back = mixer.ahead if shared else mixer.back
    for row, length in enumerate(lengths.tolist()):
        if length:
            alone = x[row : row + 1, :length]
            expected = mixer.ahead(alone)[0] + back(alone.flip(1))[0].flip(1)
            trial.close(y[row : row + 1, :length], expected, 1e-12, f"row {row}")
        assert (y[row, length:] == 0).all()


def test_with_shared_weights_it_commutes_with_reversal_and_with_own_it_does_not(trial, signal):
    inner, x = mixers.config("flash", key_dim=4, chunk=6), signal(2, 13, 8)
    shared, own = built(inner, shared=True), built(inner)
    trial.close(shared(x.flip(1))[0], shared(x)[0].flip(1), 1e-12, "mirror")
    assert not torch.allclose(own(x.flip(1))[0], own(x)[0].flip(1), rtol=1e-3)


def test_of_linear_attention_it_counts_every_token_and_oneself_twice(trial, signal):
    """Without a normaliser the two passes add up to the one-pass form and each token's own term."""
    inner = mixers.config("linear", heads=2, normalise=False)
    mixer, x = built(inner, shared=True), signal(2, 9, 8)
    once = inner.build(8, causal=False).double()
    once.load_state_dict(mixer.ahead.state_dict())
    each = mixer.ahead(x.flatten(0, 1)[:, None])[0].view_as(x)
    trial.close(mixer(x)[0], once(x)[0] + each, 1e-12, "sums")


def test_shared_weights_are_half_the_parameters_and_each_is_named_once():
    shared, own = built(INNER[0], shared=True), built(INNER[0])
    count = [sum(p.numel() for p in mixer.parameters()) for mixer in (shared, own)]
    assert count[1] == 2 * count[0]
    assert len(shared.state_dict()) == len(list(shared.parameters()))
    groups = param_groups(own, lr=1e-3, weight_decay=0.1)
    assert sum(len(group["params"]) for group in groups) == len(list(own.parameters()))


def test_every_form_of_the_causal_mixer_is_a_form_of_both_passes(trial, signal):
    mixer, x = built(INNER[0]), signal(2, 9, 8)
    reference = mixer(x)[0]
    for form in mixer.forms:
        mixer.form = form
        trial.close(mixer(x)[0], reference, 1e-12, form)
        assert mixer.last_form == mixer.back.last_form == form


def test_a_stack_scales_the_branch_of_both_passes():
    config = SequenceConfig(dim=8, layers=2, mlp_dim=8, mixers=(mixers.config("bidirectional"),))
    torch.manual_seed(0)
    alone = config.mixers[0].build(8, causal=False)
    torch.manual_seed(0)
    stacked = Stack(config, causal=False).mixers[0]
    for name in ("ahead", "back"):
        ratio = stacked.get_submodule(name).out.weight / alone.get_submodule(name).out.weight
        assert torch.allclose(ratio, torch.tensor(0.5))


def test_refusals():
    with pytest.raises(ValueError, match="mixer: expected a kind that can be causal, got 'linformer'"):
        mixers.config("bidirectional", mixer=mixers.config("linformer"))
    with pytest.raises(ValueError, match="mixer 'bidirectional' sees all tokens: it needs causal=False"):
        mixers.build("bidirectional", dim=8)
    with pytest.raises(ValueError, match="forward: expected a causal mixer, got LinearAttention"):
        Bidirectional(mixers.build("linear", dim=8, causal=False))
    with pytest.raises(ValueError, match="backward: expected width 8, that of forward, got 12"):
        Bidirectional(mixers.build("linear", dim=8), mixers.build("linear", dim=12))
