"""Losses of masks: literal float64 loops, values by hand, torch's own, laws of sums, splits, selection."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from linsight.losses import MASK_LOSSES, mask_loss, mask_loss_terms

NAMES = tuple(MASK_LOSSES)
REGIONS = ("dice", "jaccard", "tversky", "lovasz")
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 3.0], dtype=torch.float64)


def scene(batch=3, classes=4, height=5, width=7, seed=0, ignored=0.2):
    """Logits in float64, and a target of which a part is ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(batch, classes, height, width, generator=generator, dtype=torch.float64)
    target = torch.randint(max(2, classes), (batch, height, width), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = 255
    return logits, target


def literal(
    name, logits, target, *, weights=None, smoothing=0.0, gamma=2.0, keep=0.25, a=0.5, b=0.5, eps=1.0
):
    """The loss of the valid pixels of one group, one number at a time, by the equations of the papers."""
    pixels = [
        (logits[i, :, r, c].softmax(0).tolist(), int(target[i, r, c]))
        for i, r, c in itertools.product(*map(range, target.shape))
        if target[i, r, c] != 255
    ]
    classes = logits.shape[1]
    w = [1.0] * classes if weights is None else weights.tolist()
    if name in ("ce", "ohem"):
        losses = []
        for p, y in pixels:
            spread = sum(w[k] * math.log(p[k]) for k in range(classes)) / classes
            losses.append((-(1 - smoothing) * w[y] * math.log(p[y]) - smoothing * spread, w[y]))
        if name == "ohem":
            losses = sorted(losses, reverse=True)[: math.ceil(keep * len(losses))]
        return sum(loss for loss, _ in losses) / sum(weight for _, weight in losses)
    if name == "focal":
        return sum(-((1 - p[y]) ** gamma) * math.log(p[y]) for p, y in pixels) / len(pixels)
    found = []
    for k in sorted({y for _, y in pixels}):
        if name == "lovasz":
            found.append(_literal_lovasz([(p[k], y == k) for p, y in pixels]))
            continue
        hits = sum(p[k] for p, y in pixels if y == k)
        false_positives = sum(p[k] for p, y in pixels if y != k)
        false_negatives = sum(1 - p[k] for p, y in pixels if y == k)
        if name == "dice":
            both = 2 * hits + false_positives + false_negatives
            found.append(1 - (2 * hits + eps) / (both + eps))
        else:
            one, other = (1, 1) if name == "jaccard" else (a, b)
            found.append(1 - (hits + eps) / (hits + one * false_positives + other * false_negatives + eps))
    return sum(found) / len(found)


def _literal_lovasz(pairs):
    """sum_i e_i (J({1..i}) - J({1..i-1})) with J of a set of wrong pixels counted from the set itself."""
    ranked = sorted(pairs, key=lambda pair: -abs(pair[1] - pair[0]))

    def jaccard_loss(wrong):
        truth = {i for i, (_, y) in enumerate(ranked) if y}
        predicted = truth ^ set(range(wrong))
        return 1 - len(truth & predicted) / len(truth | predicted)

    return sum(abs(y - p) * (jaccard_loss(i + 1) - jaccard_loss(i)) for i, (p, y) in enumerate(ranked))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reduce", ["image", "batch"])
@pytest.mark.parametrize("ignored", [0.0, 0.2])
def test_a_loss_is_the_literal_sum_of_its_equation(name, reduce, ignored):
    logits, target = scene(ignored=ignored)
    options = {"a": 0.7, "b": 0.2, "gamma": 1.5, "keep": 0.3}
    found = mask_loss(
        name, logits, target, reduce=reduce, false_positives=0.7, false_negatives=0.2, gamma=1.5, keep=0.3
    )
    if reduce == "batch":
        expected = literal(name, logits, target, **options)
    else:
        expected = sum(literal(name, logits[i : i + 1], target[i : i + 1], **options) for i in range(3)) / 3
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["ce", "ohem"])
def test_class_weights_and_smoothing_are_those_of_the_literal_sum(name):
    logits, target = scene(batch=1)
    found = mask_loss(name, logits, target, class_weights=WEIGHTS, label_smoothing=0.1)
    assert found.item() == pytest.approx(
        literal(name, logits, target, weights=WEIGHTS, smoothing=0.1), rel=1e-12
    )


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_pooled_cross_entropy_is_torchs(weights, smoothing):
    logits, target = scene()
    expected = F.cross_entropy(logits, target, weights, ignore_index=255, label_smoothing=smoothing)
    found = mask_loss("ce", logits, target, reduce="batch", class_weights=weights, label_smoothing=smoothing)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_binary_cross_entropy_is_torchs_with_logits():
    logits, target = scene(classes=1)
    valid = target != 255
    expected = F.binary_cross_entropy_with_logits(logits[:, 0][valid], target[valid].double())
    torch.testing.assert_close(mask_loss("ce", logits, target, reduce="batch"), expected, rtol=1e-12, atol=0)


def test_one_channel_is_two_classes_whose_first_logit_is_0():
    logits, target = scene(classes=1)
    two = torch.cat([torch.zeros_like(logits), logits], 1)
    for name in ("ce", "ohem", "focal"):
        torch.testing.assert_close(mask_loss(name, logits, target), mask_loss(name, two, target))
    # Regions: of class 1 alone.
    only = torch.where(target == 0, 255, target)
    assert mask_loss("dice", logits, target) != mask_loss("dice", two, target)
    assert mask_loss("dice", logits, only).item() > 0


@pytest.mark.parametrize(
    ("name", "expected"), [("dice", 0.2), ("jaccard", 1 / 3), ("tversky", 0.2), ("lovasz", 0.2)]
)
def test_the_example_by_hand(name, expected):
    """p = (.8, .2), y = (1, 0): I = .8, FP = .2, FN = .2.

    Dice 1 - 1.6 / 2, Jaccard 1 - .8 / 1.2, Tversky(.7, .3) 1 - .8 / 1. Lovasz: errors .2 and .2, whose
    Jaccard steps sum to 1 - 0 / 2 = 1, so .2.
    """
    logits = torch.tensor([0.8, 0.2], dtype=torch.float64).logit().view(1, 1, 1, 2)
    target = torch.tensor([[[1, 0]]])
    found = mask_loss(name, logits, target, eps=0.0, false_positives=0.7, false_negatives=0.3)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_focal_without_focus_and_ohem_of_all_are_cross_entropy():
    logits, target = scene()
    ce = mask_loss("ce", logits, target)
    torch.testing.assert_close(mask_loss("focal", logits, target, gamma=0.0), ce)
    torch.testing.assert_close(mask_loss("ohem", logits, target, keep=1.0), ce)
    weighted = mask_loss("ce", logits, target, class_weights=WEIGHTS, label_smoothing=0.1)
    found = mask_loss("ohem", logits, target, keep=1.0, class_weights=WEIGHTS, label_smoothing=0.1)
    torch.testing.assert_close(found, weighted)


def test_tversky_with_halves_is_dice_and_with_ones_jaccard():
    logits, target = scene()
    for rates, eps, other in ((0.5, 1.0, "dice"), (1.0, 2.0, "jaccard")):
        found = mask_loss("tversky", logits, target, false_positives=rates, false_negatives=rates, eps=eps)
        scale = 2.0 if other == "dice" else 1.0
        torch.testing.assert_close(found, mask_loss(other, logits, target, eps=scale * eps))


@pytest.mark.parametrize("name", REGIONS)
def test_a_perfect_prediction_of_a_region_costs_nothing_and_a_wrong_one_all(name):
    target = torch.tensor([[[0, 1, 2], [2, 2, 0]]])
    right = 2000.0 * F.one_hot(target, 3).permute(0, 3, 1, 2).double()
    wrong = 2000.0 * F.one_hot((target + 1) % 3, 3).permute(0, 3, 1, 2).double()
    assert mask_loss(name, right, target, eps=0.0).item() == pytest.approx(0, abs=1e-12)
    assert mask_loss(name, wrong, target, eps=0.0).item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("flips", [0, 1, 3, 6])
def test_lovasz_of_a_hard_prediction_is_the_jaccard_loss(flips):
    """What makes it an extension of the Jaccard loss: both agree where every p is 0 or 1."""
    target = torch.tensor([[[0, 0, 1, 1, 1, 0, 1, 0]]])
    called = target.clone()
    called[0, 0, :flips] = 1 - called[0, 0, :flips]
    logits = 2000.0 * (2 * called.double() - 1)[:, None]
    hit = ((called == 1) & (target == 1)).sum().item()
    either = ((called == 1) | (target == 1)).sum().item()
    assert mask_loss("lovasz", logits, target).item() == pytest.approx(1 - hit / either, abs=1e-12)


@pytest.mark.parametrize("name", [*NAMES, "ce+dice"])
@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("ignored", [0.0, 0.2])
def test_equal_parts_of_a_batch_have_the_mean_of_the_whole_by_image(name, parts, ignored):
    """Data parallel and accumulated: the same number. Pooled it is another one, as the docstring warns."""
    logits, target = scene(batch=4, ignored=ignored)
    whole = mask_loss(name, logits, target)
    pieces = zip(logits.chunk(parts), target.chunk(parts), strict=True)
    torch.testing.assert_close(sum(mask_loss(name, *piece) for piece in pieces) / parts, whole)


@pytest.mark.parametrize("name", NAMES)
def test_pooling_depends_on_the_split(name):
    logits, target = scene(batch=2)
    target[0, :4] = 255
    whole = mask_loss(name, logits, target, reduce="batch")
    parts = sum(mask_loss(name, logits[i : i + 1], target[i : i + 1], reduce="batch") for i in range(2)) / 2
    assert abs(whole - parts) > 1e-4


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), height=st.integers(1, 5), width=st.integers(1, 5))
def test_the_order_of_pixels_does_not_matter(name, seed, height, width):
    logits, target = scene(1, 3, height, width, seed)
    order = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed))
    moved = logits.flatten(2)[:, :, order].view_as(logits)
    turned = target.flatten(1)[:, order].view_as(target)
    torch.testing.assert_close(mask_loss(name, moved, turned), mask_loss(name, logits, target))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reduce", ["image", "batch"])
def test_what_stands_at_ignored_pixels_touches_nothing(name, reduce):
    """NaN there changes neither the value nor a gradient; 0 * NaN would."""
    logits, target = scene()
    clean = logits.clone().requires_grad_()
    value = mask_loss(name, clean, target, reduce=reduce)
    value.backward()
    dirty = torch.where((target == 255)[:, None], torch.nan, logits).requires_grad_()
    found = mask_loss(name, dirty, target, reduce=reduce)
    found.backward()
    assert torch.equal(found, value)
    assert torch.equal(dirty.grad, clean.grad)
    assert (dirty.grad.permute(0, 2, 3, 1)[target == 255] == 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [1, 3])
def test_an_image_without_a_valid_pixel_gives_0_and_no_gradient(name, classes):
    logits, target = scene(batch=2, classes=classes, ignored=0.0)
    alone = mask_loss(name, logits[:1], target[:1])
    target[1] = 255
    logits.requires_grad_()
    found = mask_loss(name, logits, target)
    found.backward()
    torch.testing.assert_close(found.detach(), alone / 2)
    assert (logits.grad[1] == 0).all()
    for reduce in ("image", "batch"):
        nothing = mask_loss(name, logits, torch.full_like(target, 255), reduce=reduce)
        (grad,) = torch.autograd.grad(nothing, logits)
        assert nothing.item() == 0
        assert (grad == 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("ignored", [0.0, 0.2])
def test_gradients_are_those_of_finite_differences(name, classes, ignored):
    logits, target = scene(2, classes, 2, 3, ignored=ignored)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: mask_loss(name, x, target), logits)


@pytest.mark.parametrize("name", [*NAMES, "ce+dice+lovasz"])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_huge_logits_give_finite_values_and_gradients(name, classes, gamma):
    generator = torch.Generator().manual_seed(0)
    sign = torch.randint(2, (1, classes, 4, 4), generator=generator).float() * 2 - 1
    logits = (1e4 * sign).requires_grad_()
    target = torch.randint(max(2, classes), (1, 4, 4), generator=generator)
    loss = mask_loss(name, logits, target, gamma=gamma, label_smoothing=0.1)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_classes_that_the_target_does_not_have_are_left_out_or_counted():
    """Two classes of four in the target: an absent one has loss 1 - eps / (P + eps), twice over for Dice."""
    logits, target = scene(1, 4, ignored=0.0)
    target %= 2
    prob = logits.softmax(1)
    skipped = mask_loss("jaccard", logits, target)
    counted = mask_loss("jaccard", logits, target, absent="count")
    predicted = prob.sum((0, 2, 3))
    absent = sum(1 - 1 / (predicted[k] + 1) for k in (2, 3))
    torch.testing.assert_close(counted, (2 * skipped + absent) / 4)
    for name in REGIONS:
        assert mask_loss(name, logits, target, absent="count") > mask_loss(name, logits, target)


def test_a_sum_is_the_sum_of_its_terms_with_their_weights():
    logits, target = scene()
    found = mask_loss("0.5*ce + dice+2*lovasz", logits, target)
    ce, dice, lovasz = (mask_loss(name, logits, target) for name in ("ce", "dice", "lovasz"))
    torch.testing.assert_close(found, 0.5 * ce + dice + 2 * lovasz)
    assert mask_loss_terms("0.5*ce + dice") == (("ce", 0.5), ("dice", 1.0))


def test_weights_of_0_at_every_pixel_give_0():
    logits, target = scene(1, 4)
    target[target != 255] = 1
    logits.requires_grad_()
    loss = mask_loss("ce", logits, target, class_weights=torch.tensor([1.0, 0.0, 1.0, 1.0]))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype):
    logits, target = scene(1, 3, 64, 64)
    half = logits.to(dtype)
    for name in NAMES:
        found = mask_loss(name, half, target)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), mask_loss(name, half.double(), target), rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_targets_of_any_integers_are_taken(dtype):
    logits, target = scene()
    assert torch.equal(mask_loss("ce+dice", logits, target.to(dtype)), mask_loss("ce+dice", logits, target))


@pytest.mark.parametrize(("keep", "kept"), [(0.1, 3), (0.11, 4), (1e-9, 1), (1.0, 30)])
def test_ohem_keeps_the_ceiling_of_the_share(keep, kept):
    """0.1 * 30 is 3, though not in floating point; some pixel is always kept."""
    logits = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    target = torch.zeros(1, 5, 6, dtype=torch.int64)
    losses = -logits.log_softmax(1)[0, 0].flatten()
    expected = losses.sort(descending=True).values[:kept].mean()
    torch.testing.assert_close(mask_loss("ohem", logits, target, keep=keep), expected)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"name": "ce+dise"}, ValueError, "name: expected a sum of ce, focal, .*, got 'dise' in 'ce[+]dise'"),
        ({"name": "x*ce"}, ValueError, "name: expected a weight of at least 0 before '[*]', got 'x'"),
        ({"name": "-1*ce"}, ValueError, "name: expected a weight of at least 0 before '[*]', got '-1'"),
        ({"name": ""}, ValueError, "name: expected a sum of"),
        ({"logits": torch.zeros(1, 3, 2, 2, dtype=torch.int64)}, TypeError, "logits: expected floating"),
        ({"logits": torch.zeros(3, 2, 2)}, ValueError, r"logits: expected shape \(batch, classes, height"),
        ({"target": torch.zeros(1, 2, 2)}, TypeError, "target: expected integers, got torch.float32"),
        ({"target": torch.zeros(1, 2, 2, dtype=torch.bool)}, TypeError, "target: expected integers"),
        ({"target": torch.zeros(1, 2, 3).long()}, ValueError, r"target: expected shape \(1, 2, 2\)"),
        ({"target": torch.full((1, 2, 2), 3)}, ValueError, "expected 0 to 2, or 255 to ignore, got 3"),
        ({"target": torch.full((1, 2, 2), -1)}, ValueError, "to ignore, got -1"),
        ({"reduce": "mean"}, ValueError, "reduce: expected 'image' or 'batch', got 'mean'"),
        ({"absent": "zero"}, ValueError, "absent: expected 'skip' or 'count', got 'zero'"),
        ({"class_weights": torch.ones(2)}, ValueError, r"class_weights: expected shape \(3,\), got \(2,\)"),
        ({"class_weights": -torch.ones(3)}, ValueError, "class_weights: expected finite"),
        ({"label_smoothing": 1.0}, ValueError, r"label_smoothing: expected a share in \[0, 1\), got 1.0"),
        ({"keep": 0.0}, ValueError, r"keep: expected a share in \(0, 1\], got 0.0"),
        ({"eps": -1.0}, ValueError, "eps: expected a number of at least 0, got -1.0"),
        ({"false_positives": math.inf}, ValueError, "false_positives: expected .* got inf"),
    ],
)  # fmt: skip
def test_what_is_no_loss_is_refused(change, error, message):
    arguments = {"name": "ce", "logits": torch.zeros(1, 3, 2, 2), "target": torch.zeros(1, 2, 2).long()}
    with pytest.raises(error, match=message):
        mask_loss(**{**arguments, **change})
