"""Several processes for one training: torch's own launcher runs the same command in each."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ENDING", "launch"]

ENDING = "LINSIGHT_ENDING"
"""Environment variable: the file into which a worker writes the exit code that the ranks agreed on."""
RESTARTS = 4
RENDEZVOUS_SECONDS = 300


def launch(arguments: Sequence[str], *, devices: int, nodes: int, rendezvous: str | None) -> int:
    """Run `linsight train` with these arguments in `devices` processes here; returns the exit code.

    A process that dies, however it dies, takes the others with it, and all of them start again from the last
    checkpoint, up to four times. An end on which they agreed (Ctrl-C, a loss that is not finite, a full
    disk) is the end.

    Raises:
        RuntimeError: The processes died once more.
    """
    # The launcher takes seconds to import, and a training of one process needs none of it.
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args
    from torch.distributed.run import run as start

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))
    # Of its warnings, one asks to turn off what makes unused parameters and exact restarts possible.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    with tempfile.TemporaryDirectory(prefix="linsight-") as folder:
        ending = Path(folder) / "ending"
        os.environ[ENDING] = str(ending)
        place = ["--rdzv-backend=c10d", f"--rdzv-endpoint={rendezvous}", "--rdzv-id=linsight"]
        options = [
            *(["--standalone"] if nodes == 1 else place),
            f"--nnodes={nodes}",
            f"--nproc-per-node={devices}",
            f"--max-restarts={RESTARTS}",
            f"--rdzv-conf=timeout={RENDEZVOUS_SECONDS}",
            "--monitor-interval=0.2",
        ]
        try:
            # After --, so that torchrun does not take our --run for an abbreviation of its own options.
            start(parse_args([*options, "-m", "--", "linsight.cli.worker", "train", *arguments]))
        except SignalException as error:
            return _agreed(ending) or 128 + error.sigval
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            raise RuntimeError(
                f"rank {rank} failed (exit code {failure.exitcode}) and {RESTARTS} restarts did not help; "
                "its own message is above"
            ) from None
        return _agreed(ending)


def _agreed(ending: Path) -> int:
    return int(ending.read_text()) if ending.exists() else 0
