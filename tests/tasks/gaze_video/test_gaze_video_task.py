"""The task of gaze over video: batches of whole clips, errors by what the eye does, a live stream."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from linsight.data.gaze import NOT_COMPARABLE, ClipSamples, EyeClips, Eyes
from linsight.mixers import config as mixer
from linsight.models.sequence import SequenceConfig
from linsight.models.vision import GazeNetConfig, GazeVideoNetConfig, ResidualConfig
from linsight.ops import exp_map
from linsight.tasks.exhibits import Curves
from linsight.tasks.gaze import PersonRoles
from linsight.tasks.gaze_video import GazeVideoConfig, GazeVideoTask
from linsight.tasks.gaze_video.evaluation import video_evaluation
from linsight.tasks.gaze_video.found import FoundClips
from linsight.tasks.gaze_video.measures import errors_of, live, phases, since_landing

SIZE, CPU = (12, 20), torch.device("cpu")
DATA = EyeClips(eyes=Eyes(size=SIZE, supersample=1), frames=9, rate=12.0, blinks=1.5)
ROLES = {"train": 3, "valid": 1, "test": 2, "pictures": 2, "valid_pictures": 2, "test_pictures": 2}


def network(kind: str = "linear", codec: str = "nll_gauss") -> GazeVideoNetConfig:
    backbone = ResidualConfig(in_channels=1, widths=(4, 8))
    eye = GazeNetConfig(size=SIZE, codec=codec, backbone=backbone, dim=8, narrow=4)
    stack = SequenceConfig(dim=8, layers=1, mlp_dim=8, mixers=(mixer(kind, heads=2),))
    return GazeVideoNetConfig(eye=eye, over_time=stack)


def task(codec: str = "nll_gauss", **options) -> GazeVideoTask:
    given = {"data": DATA, "roles": PersonRoles(**ROLES), "model": network(codec=codec), **options}
    return GazeVideoConfig(**given).build()


@pytest.fixture(scope="module")
def clips() -> ClipSamples:
    """Two clips of each of two persons, the second of saccades."""
    return DATA.samples(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))


def said(clips: ClipSamples, residual: Tensor) -> FoundClips:
    """What a network says that misses the truth by a residual, and alone by twice that."""
    truth = clips.eyes.gaze.unflatten(0, clips.moving.shape)
    residual = residual.expand_as(truth)
    return FoundClips(clips, exp_map(truth, residual), exp_map(truth, 2 * residual))


def test_a_batch_is_the_clips_whatever_their_order_the_seed_and_the_epoch() -> None:
    built = task()
    whole = built.batch(np.array([4, 0, 3]), seed=1, epoch=0)
    assert whole["image"].shape == (3, 9, 1, *SIZE)
    for other in (built, task()):
        part = other.batch(np.array([3, 4]), seed=2, epoch=5)
        assert part.keys() == whole.keys()
        for name in part:
            assert torch.equal(part[name], whole[name][[2, 0]]), name
    persons, items = built.config.roles.rows("train")
    eyes = DATA.samples(persons[[4, 0, 3]], items[[4, 0, 3]]).eyes
    assert torch.equal((whole["image"] * 255).round().byte().flatten(0, 1), eyes.image)
    torch.testing.assert_close(whole["target.mean"].reshape(-1, 2), eyes.gaze.float())
    torch.testing.assert_close(whole["head"].flatten(0, 1), eyes.head.float())


@pytest.mark.parametrize("codec", ["nll_gauss", "rle_exact", "vmf", "regression_l1"])
def test_the_loss_is_the_mean_over_all_frames(codec) -> None:
    """Of a fresh network, which has no memory yet: that of each frame as a clip of its own."""
    built = task(codec)
    model, batch = built.build_model(), built.batch(np.arange(2), seed=0, epoch=0)
    loss, parts = built.loss(model, batch)
    frames = {name: one.flatten(0, 1)[:, None] for name, one in batch.items()}
    single = [
        built.loss(model, {name: one[row : row + 1] for name, one in frames.items()})[0].item()
        for row in range(18)
    ]
    assert loss.item() == pytest.approx(sum(single) / 18, rel=1e-5, abs=1e-5)
    assert ("nll_nats_per_frame" in parts) == (codec != "regression_l1")
    loss.backward()
    assert all(one.grad is not None for one in model.parameters())


def test_frames_are_counted_from_the_landing_of_the_last_saccade() -> None:
    moving = torch.tensor([[0, 0, 1, 1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, 0, 0, 0, 1], [0] * 9]).bool()
    assert since_landing(moving).tolist() == [
        [-1, -1, -1, -1, 0, 1, 2, -1, 0],
        [-1, 0, 1, 2, 3, 4, 5, 6, -1],
        [-1] * 9,
    ]


def test_every_frame_has_one_phase_and_what_has_landed_rests(clips) -> None:
    found = phases(said(clips, torch.zeros(2)), rate=12.0)
    apart = torch.stack([found[name] for name in ("pursuit", "fixation", "saccade", "hidden")]).int()
    assert (apart.sum(0) == 1).all()
    assert (apart.flatten(1).sum(1) > 0).all()
    assert found["landed"].any()
    assert not (found["landed"] & ~found["fixation"]).any()
    # A tenth of a second at 12 a second: the frame of the landing, and the one after it.
    since = since_landing(clips.moving)
    assert torch.equal(found["landed"], ((since == 0) | (since == 1)) & ~found["hidden"])
    assert torch.equal(found["hidden"].flatten(), clips.eyes.visible < 0.1)


def test_a_constant_error_has_its_size_everywhere_and_no_jitter(clips) -> None:
    bias = torch.deg2rad(torch.tensor([3.0, 4.0], dtype=torch.float64))
    numbers = errors_of(said(clips, bias), 12.0)
    for name in ("", "_pursuit", "_fixation", "_saccade", "_landed", "_hidden"):
        assert numbers[f"degrees{name}"] == pytest.approx(5, abs=1e-6)
        assert numbers[f"degrees{name}_alone"] == pytest.approx(10, abs=1e-6)
    assert numbers["degrees_standard_error"] == pytest.approx(0, abs=1e-6)
    # The residual seen from what was said, not from the truth: its axes turn a little with the gaze.
    assert numbers["jitter_degrees"] < 0.2


def test_an_error_that_changes_its_sign_at_each_frame_jitters_by_twice_its_size(clips) -> None:
    sign = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(5)[:9, None]
    numbers = errors_of(said(clips, torch.deg2rad(sign * torch.tensor([0.0, 1.0]))), 12.0)
    assert numbers["degrees"] == pytest.approx(1, abs=1e-6)
    assert numbers["jitter_degrees"] == pytest.approx(2, abs=0.05)
    assert numbers["jitter_degrees_alone"] == pytest.approx(4, abs=0.1)


def test_persons_count_once_each(clips) -> None:
    """1 degree of one and 3 of the other: 2, give or take sqrt 2 over sqrt 2."""
    size = torch.deg2rad(torch.tensor([1.0, 1.0, 3.0, 3.0], dtype=torch.float64))[:, None, None]
    numbers = errors_of(said(clips, size * torch.tensor([1.0, 0.0])), 12.0)
    assert numbers["degrees"] == pytest.approx(2, abs=1e-6)
    assert numbers["degrees_standard_error"] == pytest.approx(1, abs=1e-6)
    one = FoundClips(DATA.samples(np.array([0]), np.array([0])), *said(clips, torch.zeros(2))[1:])
    one = one._replace(angles=one.angles[:1], alone=one.alone[:1])
    assert math.isnan(errors_of(one, 12.0)["degrees_standard_error"])
    assert math.isnan(errors_of(one, 12.0)["degrees_saccade"])


@pytest.mark.parametrize(("kind", "grows"), [("linear", False), ("softmax", True)])
def test_a_live_stream_is_the_whole_clip_and_its_state_is_measured(clips, kind, grows) -> None:
    net = network(kind).build().eval()
    torch.nn.init.normal_(net.out.weight)  # 0 in a fresh network, which has no use for its memory yet
    images, head = clips.eyes.image[:9].float() / 255, clips.eyes.head[:9].float()
    stream = live(net, images, head)
    whole, _ = net.gaze(images[None], head[None])
    torch.testing.assert_close(stream.angles.float(), whole[0].detach(), rtol=1e-4, atol=1e-5)
    assert len(stream.seconds) == 9
    assert (stream.state_bytes[-1] > stream.state_bytes[0] > 0) == grows
    assert len(set(stream.state_bytes)) == (9 if grows else 1)


def test_curves_put_an_error_where_it_is(clips) -> None:
    """An error at the frame of the landing alone is at 0 of its curve, and of no other frame's."""
    landed = (since_landing(clips.moving) == 0)[..., None].double()
    found = said(clips, math.radians(6) * landed * torch.tensor([1.0, 0.0]))
    shown = video_evaluation(network().build().eval(), found, DATA, "test", "cross-person").exhibits
    curves = {one.name: one for one in shown if isinstance(one, Curves)}
    times, errors = curves["after_saccade"].series["with the frames before"]
    assert times[0] == 0
    assert errors[0] == pytest.approx(6, abs=1e-6)
    assert all(one == pytest.approx(0, abs=1e-4) for one in errors[1:])
    times, errors = curves["memory"].series["each frame alone"]
    assert times[1] == pytest.approx(1000 / 12)
    assert errors[0] == pytest.approx(0, abs=1e-4), "no clip begins with a landing"


def test_the_report_of_a_fresh_network_finds_no_memory_and_says_what_its_numbers_are_not() -> None:
    built = task()
    model = built.build_model()
    told: list[tuple[str, int, int]] = []
    found = built.evaluate(model, "test", device=CPU, progress=lambda *one: told.append(one))
    numbers = found.metrics
    assert told[-1] == ("test clips", 4, 4)
    for name in ("degrees", "jitter_degrees", "degrees_pursuit"):
        assert numbers[name] == pytest.approx(numbers[f"{name}_alone"], abs=1e-4)
    assert numbers["live_gap_degrees"] < 1e-3
    assert {"degrees", *GazeVideoConfig.beside} <= numbers.keys()
    names = [one.name for one in found.exhibits]
    assert names == ["motions", "after_saccade", "memory", "pursuit", "saccades", "frames", "live"]
    assert NOT_COMPARABLE in found.exhibits[0].note
    assert built.validate(model) == {
        name: pytest.approx(errors_of(built.find(model, "valid"), 12.0)[name])
        for name in ("degrees", "degrees_alone")
    }


def test_the_identity_of_the_data_knows_clips_and_persons() -> None:
    same, other = task().fingerprint, task(roles=PersonRoles(**{**ROLES, "train": 4})).fingerprint
    assert same == task("vmf").fingerprint
    assert len({same, other, task(data=EyeClips(eyes=DATA.eyes, frames=9, rate=13.0)).fingerprint}) == 3


def test_a_network_of_other_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model.eye.size: clips need \(36, 60\), got \(12, 20\)"):
        task(data=EyeClips())
    colours = EyeClips(eyes=Eyes(size=SIZE, channels=3))
    with pytest.raises(ValueError, match=r"model.eye.backbone.in_channels: clips need 3, got 1"):
        task(data=colours)
