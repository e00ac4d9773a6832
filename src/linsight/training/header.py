"""The lines at the head of a training: what is trained, on what, and how."""

from linsight import optim
from linsight.profiling import allocator
from linsight.tasks.base import Task
from linsight.training.hardware import describe_device, describe_precision
from linsight.training.run import Run
from linsight.training.session import Session

__all__ = ["header"]


def header(run: Run, task: Task, session: Session) -> list[str]:
    """Lines on the run, task, model, data, optimiser with its groups, precision and device."""
    training, model = session.config.training, session.model
    parameters = sum(parameter.numel() for parameter in model.parameters())
    visits = training.steps * training.batch_size
    kind = getattr(session.config.task, "kind", type(task).__name__)
    fingerprint = session.loader.state_dict()["fingerprint"]
    parts = f" in {training.accumulate} parts" if training.accumulate > 1 else ""
    clip = (
        f"gradient clipped to norm {training.clip_norm:g}"
        if training.clip_norm is not None
        else "gradient never clipped"
    )
    return [
        f"run: {run.folder}",
        f"task: {kind}",
        f"model: {type(model).__name__}, {parameters:,} parameters",
        f"data: {task.num_examples:,} training examples (sha256 {fingerprint[:12]})",
        f"training: {training.steps:,} steps of {training.batch_size}{parts}, {visits:,} examples, "
        f"{visits / task.num_examples:.1f} epochs; seed {training.seed}",
        f"optimiser: {optim.implementation(session.optimizer)}; schedule {training.schedule.kind}; {clip}",
        *("  " + line for line in optim.describe(session.optimizer.param_groups, model).splitlines()),
        f"precision: {describe_precision(training.precision, session.device)}",
        *(["compiled: the first step takes minutes"] if training.compile else []),
        *([] if session.ranks.alone else [_ranks(session)]),
        f"device: {describe_device(session.device)}",
        f"allocator: {allocator()}",
    ]


def _ranks(session: Session) -> str:
    ranks = session.ranks
    examples = f"{session.config.training.batch_size // ranks.share[1]} examples of each step's batch"
    what = {
        "ddp": f"with {examples}",
        "fsdp": f"with {examples} and a shard of every weight (fsdp)",
        "sequence": "with a piece of the tokens of every row (sequence)",
    }
    return f"ranks: {ranks.count}, {what[ranks.strategy]}"
