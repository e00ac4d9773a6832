"""Every registered codec under one contract: round trips, masks, mirrors, weights, gradients, refusals."""

import copy
import math
import os
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import Tensor, nn

from linsight.models.vision.codecs import (
    CODECS,
    Codec,
    Directions,
    Outputs,
    Pixels,
    ScaledCodec,
    codec_from_words,
    codec_names,
    make_codec,
)

CROP, GAZE, JOINTS, CHANNELS = Pixels(width=96, height=128), Directions(), 4, 6
PAIRS = ((0, 2),)
CASES = [(name, space) for space in (CROP, GAZE, Directions("angles")) for name in codec_names(space)]
IDS = [
    f"{name}-{'pose' if space is CROP else 'gaze' if space is GAZE else 'angles'}" for name, space in CASES
]
SIGMAS = ("nll_laplace", "nll_gauss", "rle", "rle_exact", "bins", "pinball", "pinball2", "vmf")
DENSITIES = ("nll_laplace", "nll_gauss", "rle", "rle_exact", "vmf")
every = pytest.mark.parametrize(("name", "space"), CASES, ids=IDS)


def make(name: str, space: Pixels | Directions) -> Codec:
    """In float64, its flow off its initial values, so that no law holds by a zero."""
    codec = make_codec(name, space).double()
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return codec


def points(space: Pixels | Directions, batch: int = 3, joints: int = JOINTS, margin: float = 26.0) -> Tensor:
    """Places well inside the crop, or directions within 40 degrees."""
    unit = torch.rand(batch, joints, 2, dtype=torch.float64)
    if isinstance(space, Directions):
        return (2 * unit - 1) * 0.7
    return margin + unit * (torch.tensor([space.width - 1, space.height - 1]) - 2 * margin)


def mirrored(space: Pixels | Directions, truth: Tensor) -> Tensor:
    """As the mirrored image is labelled: places or yaw mirrored, the pair exchanged."""
    if isinstance(space, Directions):
        truth = truth * torch.tensor([1.0, -1.0])
    else:
        truth = torch.stack([space.width - 1 - truth[..., 0], truth[..., 1]], -1)
    return truth[:, [2, 1, 0, 3]]


def all_visible(truth: Tensor) -> Tensor:
    return torch.full(truth.shape[:2], 2)


def features(codec: Codec, batch: int = 3) -> Tensor:
    """A map of the size that the head reads."""
    size = getattr(getattr(codec, "grid", None), "size", None)
    if size is None:
        stride = getattr(codec, "stride", 32)
        size = (-(-CROP.height // stride), -(-CROP.width // stride))
    return torch.randn(batch, CHANNELS, *size, dtype=torch.float64)


def awake(codec: Codec) -> nn.Module:
    head = codec.head(CHANNELS, JOINTS).double()
    with torch.no_grad():
        for key, parameter in head.named_parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
            if "width.bias" in key:
                parameter.sub_(6)  # inside of its interval, pinball gives the mean no gradient
    return head


@every
def test_decoding_undoes_encoding_within_the_floor(name: str, space: Pixels | Directions) -> None:
    codec, truth = make(name, space), points(space, 4, 60)
    found = codec.decode(codec.perfect(codec.encode(truth, all_visible(truth))))
    error = (found.xy - truth).abs().max().item()
    assert error <= codec.floor
    assert found.xy.shape == truth.shape
    assert found.score.shape == truth.shape[:2]


@every
def test_shapes_scores_and_sigmas_of_a_head(name: str, space: Pixels | Directions) -> None:
    codec = make(name, space)
    outputs = awake(codec)(features(codec))
    found = codec.decode(outputs)
    assert found.xy.shape == (3, JOINTS, 2)
    assert found.score.shape == (3, JOINTS)
    assert torch.equal(found.score, codec.score(outputs))
    assert (found.sigma is not None) == (name in SIGMAS)
    if found.sigma is not None:
        assert found.sigma.shape == (3, JOINTS, 2)
        assert (found.sigma > 0).all()
    for one in (found.xy, found.score, *found.extra.values()):
        assert one.isfinite().all()


@every
def test_every_parameter_learns_and_none_of_the_loss_is_in_the_decoder(
    name: str, space: Pixels | Directions
) -> None:
    codec = make(name, space)
    head, truth = awake(codec), points(space)
    outputs = head(features(codec))
    loss, parts = codec.loss(outputs, codec.encode(truth, all_visible(truth)))
    loss.backward()
    for key, parameter in [*head.named_parameters(), *codec.named_parameters()]:
        # Softmax does not see what all bins have in common.
        shared = name in ("integral", "dsnt") and key == "last.bias"
        assert parameter.grad is not None, key
        assert parameter.grad.any() or shared, key
    assert all(not part.requires_grad for part in parts.values())
    assert ("nll" in parts) == (name in DENSITIES)
    assert bool(list(codec.parameters())) == (name in ("rle", "rle_exact"))
    want = codec.decode(outputs)
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter.fill_(math.nan)
    assert torch.equal(codec.decode(outputs).xy, want.xy)


@every
def test_the_truth_is_better_than_what_is_near(name: str, space: Pixels | Directions) -> None:
    """The loss of perfect outputs is below that of another truth's, and no smaller at a second truth."""
    codec, truth = make(name, space), points(space)
    step = 0.02 if isinstance(space, Directions) else 3.0
    targets, near = (codec.encode(truth + shift, all_visible(truth)) for shift in (0.0, step))
    perfect, _ = codec.loss(codec.perfect(targets), targets)
    assert perfect < codec.loss(codec.perfect(near), targets)[0] - 1e-9


def run(codec: Codec, head: nn.Module, x: Tensor, targets: Outputs) -> list[Tensor]:
    """The loss and every gradient."""
    leaf = x.clone().requires_grad_()
    loss, parts = codec.loss(head(leaf), targets)
    given = [leaf, *head.parameters(), *codec.parameters()]
    return [loss.detach(), *parts.values(), *torch.autograd.grad(loss, given)]


@every
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_what_stands_under_a_weight_of_0_changes_nothing(
    name: str, space: Pixels | Directions, value: float
) -> None:
    """In the keypoints, in the targets, and in the outputs: to the last bit, and finite."""
    codec, truth = make(name, space), points(space)
    head, x = awake(codec), features(codec)
    visible = torch.tensor([[2, 0, 1, 2], [0, 0, 0, 0], [1, 2, 2, 0]])
    want = run(codec, head, x, codec.encode(truth, visible))
    poisoned = torch.where(visible[..., None] > 0, truth, value)
    targets = codec.encode(poisoned, visible)
    assert all(one.isfinite().all() for one in targets.values() if one.is_floating_point())
    for key, one in targets.items():
        if key != "weight" and one.is_floating_point():
            hidden = (visible == 0).view(*visible.shape, *[1] * (one.ndim - 2))
            targets[key] = torch.where(hidden, value, one)
    for found, expected in zip(run(codec, head, x, targets), want, strict=True):
        assert found.isfinite().all()
        assert torch.equal(found, expected)
    outputs = {key: one.detach() for key, one in head(x).items()}
    for key, one in outputs.items():
        hidden = (visible == 0).view(*visible.shape, *[1] * (one.ndim - 2))
        outputs[key] = torch.where(hidden, value, one).requires_grad_()
    loss, _ = codec.loss(outputs, targets)
    assert torch.equal(loss.detach(), want[0])
    loss.backward()
    for one in outputs.values():
        assert one.grad.isfinite().all()
        assert not one.grad[visible == 0].any()


@every
def test_without_a_joint_the_loss_is_0_with_gradients_of_zeros(name: str, space: Pixels | Directions) -> None:
    codec, truth = make(name, space), points(space)
    found = run(codec, awake(codec), features(codec), codec.encode(truth * math.nan, 0 * all_visible(truth)))
    assert all(one.isfinite().all() and not one.any() for one in found)


@every
def test_the_loss_is_the_mean_over_joints_and_linear_in_the_weights(
    name: str, space: Pixels | Directions
) -> None:
    codec, truth = make(name, space), points(space)
    outputs = awake(codec)(features(codec))
    weight = torch.rand(3, JOINTS, dtype=torch.float64) + 0.5
    weight[1, 2] = 0

    def loss(weight: Tensor) -> float:
        return codec.loss(outputs, codec.encode(truth, all_visible(truth), weight))[0].item()

    single = [
        loss(torch.zeros_like(weight).view(-1).index_fill(0, torch.tensor(i), 1).view(3, JOINTS))
        for i in range(12)
    ]
    want = sum(one * w for one, w in zip(single, weight.flatten().tolist(), strict=True)) / 11
    assert loss(weight) == pytest.approx(want, rel=1e-9)
    assert loss(3 * weight) == pytest.approx(3 * want, rel=1e-9)
    assert codec.loss(outputs, codec.encode(truth, weight > 0))[0].item() == pytest.approx(
        sum(one for i, one in enumerate(single) if i != 6) / 11, rel=1e-9
    )


@every
def test_a_mirror_image_gives_the_same_keypoints_without_bias(name: str, space: Pixels | Directions) -> None:
    """Flipping twice is nothing; flipped outputs of the mirror image decode to the image's own points."""
    codec, truth = make(name, space), points(space, 30)
    image = codec.perfect(codec.encode(truth, all_visible(truth)))
    mirror = codec.perfect(codec.encode(mirrored(space, truth), all_visible(truth)))
    flipped = codec.flip(mirror, PAIRS)
    error = (codec.decode(flipped).xy - truth).abs().amax((0, 1))
    both = codec.decode(codec.average(image, flipped)).xy - truth
    if name == "heatmap_msra":
        assert error.max() <= 2 * codec.floor, "the classical shift, half a pixel off; see test_heatmap.py"
        return
    assert error.max().item() <= codec.floor + 1e-9
    # Half a bin is lost at random by an argmax, and not to one side.
    assert both.mean((0, 1)).abs().max().item() < (0.02 if name == "simcc" else 1e-3)
    for key, one in codec.flip(codec.flip(image, PAIRS), PAIRS).items():
        assert (one - image[key]).abs().max() < 1e-12


@every
def test_images_of_a_batch_do_not_know_each_other(name: str, space: Pixels | Directions) -> None:
    codec = make(name, space)
    head, x = awake(codec), features(codec)
    whole = codec.decode(head(x))
    for i in range(3):
        alone = codec.decode(head(x[i : i + 1]))
        assert (alone.xy[0] - whole.xy[i]).abs().max() < 1e-9
        assert (alone.score[0] - whole.score[i]).abs().max() < 1e-9
    none = codec.decode(head(x[:0]))
    assert none.xy.shape == (0, JOINTS, 2)


@every
def test_autocast_keeps_outputs_and_losses_in_float32(name: str, space: Pixels | Directions) -> None:
    codec, truth = make(name, space).float(), points(space).float()
    head, x = awake(codec).float(), features(codec).float()
    targets = codec.encode(truth, all_visible(truth))
    want, _ = codec.loss(head(x), targets)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = head(x)
        loss, _ = codec.loss(outputs, targets)
    assert loss.dtype == torch.float32
    assert all(one.dtype == torch.float32 for one in outputs.values())
    assert loss.item() == pytest.approx(want.item(), rel=0.05, abs=0.01)


@pytest.mark.parametrize(
    ("name", "space"), CASES[: -len(codec_names(GAZE))], ids=IDS[: -len(codec_names(GAZE))]
)
def test_fuzzed_steps_stay_finite(name: str, space: Pixels | Directions) -> None:
    """Of gaze in the tangent plane alone, whose residuals are the harder ones."""
    fuzz(name, space, steps=32)


@pytest.mark.parametrize(
    ("words", "steps"), [("rle", 400), ("rle variant=mmpose", 300), ("rle_exact", 300)], ids=lambda x: str(x)
)
def test_a_thousand_fuzzed_steps_of_rle_stay_finite(words: str, steps: int) -> None:
    """Issue 10; in one run each, so that the flow has gone where such steps take it."""
    fuzz(words, CROP, steps)


def fuzz(words: str, space: Pixels | Directions, steps: int) -> None:
    """Empty batches, one joint, labels far outside, weights of any size, scales at both ends: no NaN."""
    name = words.split()[0]
    small = Pixels(32, 40) if space is CROP else space
    codec = codec_from_words(words, small)
    head = codec.head(3, 2)
    optimiser = torch.optim.Adam([*head.parameters(), *codec.parameters()], lr=3e-2)
    generator = torch.Generator().manual_seed(1)
    size = (1, 1) if name != "simcc" else (2, 1)
    size = getattr(getattr(codec, "grid", None), "size", size)
    for step in range(steps):
        x = torch.randn(3, 3, *size, generator=generator) * 10.0 ** (step % 4)
        truth = points(small, joints=2, margin=4).float()
        visible = torch.randint(0, 3, (3, 2), generator=generator)
        weight = 10 ** (4 * torch.rand(3, 2, generator=generator) - 2)
        if step % 5 == 0:
            visible = torch.zeros_like(visible)
        if step % 5 == 1:
            visible = torch.zeros_like(visible)
            visible[1, 1] = 2
        if step % 3 == 0 and space is CROP:
            truth = truth * 10.0 ** (step % 7)
        truth = torch.where(visible[..., None] > 0, truth, math.nan)
        outputs = head(x)
        if step % 7 == 6 and "sigma" in outputs:
            outputs["sigma"] = 0 * outputs["sigma"] + codec.sigma_range[0]
        loss, parts = codec.loss(outputs, codec.encode(truth, visible, weight))
        optimiser.zero_grad()
        loss.backward()
        checked = [loss, *parts.values(), codec.decode(outputs).xy]
        checked += [parameter.grad for parameter in head.parameters() if parameter.grad is not None]
        checked += [parameter.grad for parameter in codec.parameters()]
        assert all(one.isfinite().all() for one in checked), f"step {step}"
        optimiser.step()


@pytest.mark.parametrize("name", ["nll_laplace", "nll_gauss", "rle", "rle_exact"])
def test_an_error_of_ten_thousand_crops_at_the_least_sigma_is_finite(name: str) -> None:
    codec = make(name, CROP).float()
    mean = torch.full((1, 1, 2), 1e4, requires_grad=True)
    sigma = torch.full((1, 1, 2), 1e-3, requires_grad=True)
    targets = codec.encode(torch.tensor([[[10.0, 10.0]]]), torch.tensor([[2]]))
    loss, parts = codec.loss({"mean": mean, "sigma": sigma}, targets)
    loss.backward()
    given = (loss, parts["nll"], mean.grad, sigma.grad, *(p.grad for p in codec.parameters()))
    assert all(one.isfinite().all() for one in given)


@every
def test_a_copy_and_a_state_dict_are_all_there_is(name: str, space: Pixels | Directions) -> None:
    codec = make(name, space)
    head, x, truth = awake(codec), features(codec), points(space)
    targets = codec.encode(truth, all_visible(truth))
    want, _ = codec.loss(head(x), targets)
    other, fresh = make_codec(name, space).double(), codec.head(CHANNELS, JOINTS).double()
    other.load_state_dict(codec.state_dict())
    fresh.load_state_dict(head.state_dict())
    assert torch.equal(other.loss(fresh(x), targets)[0], want)
    assert torch.equal(copy.deepcopy(codec).loss(copy.deepcopy(head)(x), targets)[0], want)
    assert not [key for key in head.state_dict() if "flow" in key]


@every
def test_what_cannot_be_meant_is_refused(name: str, space: Pixels | Directions) -> None:
    codec, truth = make(name, space), points(space)
    visible = all_visible(truth)
    broken = truth.clone()
    broken[2, 1, 0] = math.nan
    for call, kind, match in (
        (lambda: codec.encode(truth.long(), visible), TypeError, "keypoints: expected floating point, got"),
        (lambda: codec.encode(truth, visible.float()), TypeError, "visible: expected integers or bool, got"),
        (
            lambda: codec.encode(truth[..., :1], visible),
            ValueError,
            r"keypoints: expected \(batch, joints, 2\), got \(3, 4, 1\)",
        ),
        (
            lambda: codec.encode(truth, visible[:, :3]),
            ValueError,
            r"visible: expected \(batch, joints\) \(3, 4\), got \(3, 3\)",
        ),
        (
            lambda: codec.encode(truth, visible, torch.ones(3)),
            ValueError,
            r"weight: expected \(batch, joints\) \(3, 4\), got \(3,\)",
        ),
        (
            lambda: codec.encode(truth, visible, -truth[..., 0].abs()),
            ValueError,
            "weight: expected numbers of",
        ),
        (
            lambda: codec.encode(broken, visible),
            ValueError,
            r"keypoints: expected finite numbers where visible, got \[nan, .*\] in sample 2, joint 1",
        ),
        (
            lambda: codec.loss(
                codec.perfect(codec.encode(truth[:2], visible[:2])), codec.encode(truth, visible)
            ),
            ValueError,
            "outputs: expected '.*' of shape",
        ),
        (lambda: codec.head(0, 4), ValueError, "in_channels: expected at least 1, got 0"),
        (lambda: codec.head(4, 0), ValueError, "keypoints: expected at least 1, got 0"),
        (
            lambda: codec.head(4, 2)(torch.zeros(1, 5, 4, 3)),
            ValueError,
            r"features: expected .* got \(1, 5, 4, 3\)",
        ),
    ):
        with pytest.raises(kind, match=match):
            call()
    outputs = codec.perfect(codec.encode(truth, visible))
    for pairs, match in (
        (((0, 0),), r"pairs: expected two different joints of 0 to 3, got \(0, 0\)"),
        (((0, 4),), r"pairs: expected two different joints of 0 to 3, got \(0, 4\)"),
        (((0, 1, 2),), r"pairs: expected two different joints of 0 to 3, got \(0, 1, 2\)"),
        (((0, 1), (1, 2)), r"pairs: expected each joint in one pair, got \(1, 2\) with one a second time"),
    ):
        with pytest.raises(ValueError, match=match):
            codec.flip(outputs, pairs)


def test_names_options_and_spaces_are_checked() -> None:
    with pytest.raises(ValueError, match="codec 'rel' is not known; choose one of heatmap_msra, heatmap, "):
        make_codec("rel", CROP)
    with pytest.raises(
        ValueError, match="codec 'rle_exact' has no option 'variant'; it has base, residual, "
    ):
        make_codec("rle_exact", CROP, variant="official")
    with pytest.raises(ValueError, match="codec 'vmf' has no option 'bins'; it has none"):
        make_codec("vmf", GAZE, bins=3)
    with pytest.raises(TypeError, match="space: expected Pixels for Heatmap, got Directions"):
        make_codec("heatmap", GAZE)
    with pytest.raises(TypeError, match="space: expected Directions for Bins, got Pixels"):
        make_codec("bins", CROP)
    with pytest.raises(ValueError, match="distance: expected one of places for Pixels, got 'angular'"):
        make_codec("angular", CROP)
    assert set(codec_names(CROP)) | set(codec_names(GAZE)) == set(CODECS)
    assert "rle" in codec_names(CROP)
    assert "rle" in codec_names(GAZE)
    assert isinstance(make_codec("rle", CROP), ScaledCodec)


PROGRAM = """
    import torch
    from linsight.models.vision.codecs import CODECS, Directions, Pixels, codec_names, make_codec

    class Whole(torch.nn.Module):
        def __init__(self, name, space):
            super().__init__()
            codec = make_codec(name, space)
            self.head = codec.head(3, 2)
            self.decode = codec.decode

        def forward(self, features):
            return self.decode(self.head(features))

    torch.manual_seed(0)
    for space in (Pixels(32, 40), Directions()):
        for name in codec_names(space):
            model = Whole(name, space).eval()
            sides = (2, 1) if name == "simcc" else (10, 8)
            x = torch.randn(3, 3, *sides)
            batch = torch.export.Dim("batch", min=1, max=64)
            exported = torch.export.export(model, (x,), dynamic_shapes=({0: batch},))
            assert not [key for key in exported.state_dict if "flow" in key], name
            for number in (3, 5):
                x = torch.randn(number, 3, *sides)
                found, want = exported.module()(x), model(x)
                torch.testing.assert_close(found.xy, want.xy)
                torch.testing.assert_close(found.score, want.score)
"""


@pytest.mark.slow
def test_the_exported_graph_includes_the_decoder_and_no_flow() -> None:
    """In a process of its own: shape checks, which the suite installs, cannot be traced."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
