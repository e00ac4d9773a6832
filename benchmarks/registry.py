"""Every benchmark, by name."""

from benchmarks.case import Case
from benchmarks.cases import (
    average_precision,
    linear_attention,
    performer,
    renderers,
    sampling,
    scan,
    state_space,
    training,
    upsampling,
)

__all__ = ["CASES"]

CASES = {
    "linear_attention": Case(
        help="the op against softmax attention, B=1 H=8 D=64, float32",
        tests=("tests/ops/linear", "tests/kernels/cpu/test_linear_attention.py"),
        tables=linear_attention.lengths,
    ),
    "linear_attention_forms": Case(
        help="what `auto` takes, beside each form that it might take, with kernels and without",
        tests=("tests/ops/linear", "tests/kernels/cpu/test_linear_attention.py"),
        tables=linear_attention.choices,
    ),
    "linear_attention_training": Case(
        help="the normalised op against softmax attention, as a mixer calls it in training",
        tests=("tests/ops/linear", "tests/kernels/cpu/test_linear_attention.py"),
        tables=linear_attention.training,
    ),
    "performer": Case(
        help="the estimate of softmax attention against softmax itself, and against performer-pytorch",
        tests=("tests/mixers/test_performer.py", "tests/nn/test_random_features.py"),
        tables=performer.forward,
    ),
    "s4d_kernel": Case(
        help="the kernel of a diagonal state space in two levels, and by complex powers",
        tests=("tests/ops/diagonal",),
        tables=state_space.kernel,
    ),
    "s4d_forms": Case(
        help="a diagonal state space by Fourier convolution and in chunks",
        tests=("tests/ops/diagonal",),
        tables=state_space.forms,
    ),
    "sampling": Case(
        help="a decoding step by the state, by a key-value cache, and by re-running the prefix",
        tests=(
            "tests/ops/linear",
            "tests/models/sequence/test_generation.py",
            "tests/models/sequence/test_decoding.py",
            "tests/kernels/cpu/test_decode.py",
        ),
        tables=sampling.pixels,
    ),
    "training": Case(
        help="a training step of make run's network with compiled kernels, and without",
        tests=(
            "tests/ops/linear",
            "tests/kernels/cpu/test_linear_attention.py",
            "tests/kernels/cpu/test_gated_silu.py",
            "tests/ops/test_gated_silu.py",
        ),
        tables=training.steps,
    ),
    "scan": Case(
        help="the selective scan against one operation a token, and against mambapy's log-depth scan",
        tests=("tests/ops/scan", "tests/kernels/cpu/test_selective_scan.py"),
        tables=scan.lengths,
    ),
    "upsampling": Case(
        help="CARAFE beside resize and convolution, DySample beside transposed convolution, in training",
        tests=("tests/contracts/test_upsamplers.py", "tests/nn/upsampling", "tests/ops/test_reassembly.py"),
        tables=upsampling.training,
    ),
    "average_precision": Case(
        help="mAP by COCO's protocol beside pycocotools, faster-coco-eval and hotcoco; errors in the numbers",
        tests=("tests/metrics/average_precision",),
        tables=average_precision.evaluation,
        limits=average_precision.command,
    ),
    "renderers": Case(
        help="eyes and bodies as the presets draw them, on one core",
        tests=("tests/data/gaze", "tests/data/people"),
        limits=renderers.pictures,
    ),
}
