"""Batches counted from the first to the last of a run, so that a restart goes on with the very next one."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Int64

from linsight.data import noise

__all__ = ["Loader"]

Batch = TypeVar("Batch")
_VERSION = 1


class Loader(Generic[Batch]):
    """Training batches as a pure function of (seed, step), with one number of state: the next step.

    The order of an epoch is a pure function of (seed, epoch). Step k stands for one *global* batch, of which
    every rank gets its equal part in order, so the data seen are the same for any world size. Epochs roll
    over inside: step k is in epoch k // steps_per_epoch.

    Iterating begins at `step` and ends after `total_steps`, or with the current epoch when there is no
    total; `step` counts the batches handed out and is raised just before each. `len` is `total_steps`, or the
    steps of an epoch: the length of an undisturbed pass, as Lightning counts it, whatever `step` is.

    Args:
        fetch: called as fetch(indices, epoch) -> batch; a pure function, thread-safe when `workers` > 0. The
            indices are this rank's examples, an int64 array.
        num_examples: examples to choose from, numbered from 0.
        batch_size: examples in a global batch.
        seed: of the orders; 0 <= seed < 2^64.
        fingerprint: the identity of the data (`data.fingerprint`), kept in the state and compared on loading.
        shuffle: False gives every epoch the order 0, 1, 2, ...
        total_steps: the step at which the run ends.
        rank: the part of each global batch to deliver, 0 <= rank < world_size.
        world_size: the number of parts; it divides every global batch.
        drop_last: leave out an epoch's last, smaller batch.
        workers: threads that prepare the next batches; 0 fetches in the caller's. The batches are the same.

    Raises ValueError for arguments that contradict each other. Cost: one sort of num_examples words an epoch.

    Example:
        >>> loader = Loader(lambda indices, epoch: indices.tolist(), 6, 2, seed=0, fingerprint="toy")
        >>> sorted(sum(loader, []))
        [0, 1, 2, 3, 4, 5]
    """

    def __init__(
        self,
        fetch: Callable[[Int64[np.ndarray, "local"], int], Batch],
        num_examples: int,
        batch_size: int,
        *,
        seed: int,
        fingerprint: str,
        shuffle: bool = True,
        total_steps: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = True,
        workers: int = 0,
    ) -> None:
        _at_least(1, num_examples=num_examples, batch_size=batch_size, world_size=world_size)
        _at_least(0, rank=rank, workers=workers)
        if total_steps is not None:
            _at_least(1, total_steps=total_steps)
        if rank >= world_size:
            raise ValueError(f"rank: expected less than world_size {world_size}, got {rank}")
        if drop_last and batch_size > num_examples:
            raise ValueError(
                f"batch_size: {batch_size} is more than the {num_examples} examples, and drop_last leaves "
                f"no batch; use at most {num_examples}"
            )
        remainder = 0 if drop_last else num_examples % batch_size
        for size in (batch_size, remainder):
            if size % world_size:
                raise ValueError(
                    f"world_size: {world_size} does not divide the global batch of {size}, of which every "
                    f"rank gets an equal part; use a batch_size that it divides, and drop_last=True"
                )
        self._order_key = noise.key(seed, "loader/order")
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))
        self._fetch = fetch
        self._rank, self._world_size, self._workers = rank, world_size, workers
        self._step = 0
        self._identity = {
            "version": _VERSION,
            "seed": seed,
            "fingerprint": fingerprint,
            "num_examples": num_examples,
            "batch_size": batch_size,
            "shuffle": shuffle,
            "drop_last": drop_last,
        }
        self.num_examples = num_examples
        self.batch_size = batch_size
        self.total_steps = total_steps
        self.steps_per_epoch = num_examples // batch_size if drop_last else -(-num_examples // batch_size)

    @property
    def step(self) -> int:
        """The number of batches handed out since the run began, which is the number of the next."""
        return self._step

    @property
    def epoch(self) -> int:
        """The epoch of the next batch, from 0."""
        return self._step // self.steps_per_epoch

    def seek(self, step: int) -> None:
        """Make `step` the next one, as after a batch that was handed out and then not used."""
        _at_least(0, step=step)
        self._step = step

    def indices(self, step: int) -> Int64[np.ndarray, "batch"]:
        """The examples of the global batch of a step, in order, all ranks together."""
        _at_least(0, step=step)
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, self._epoch_order(epoch))
        return self._order[1][place * self.batch_size : (place + 1) * self.batch_size].copy()

    def __len__(self) -> int:
        return self.steps_per_epoch if self.total_steps is None else self.total_steps

    def __iter__(self) -> Iterator[Batch]:
        end = (self.epoch + 1) * self.steps_per_epoch if self.total_steps is None else self.total_steps
        return self._prepared(end) if self._workers else self._direct(end)

    def state_dict(self) -> dict[str, Any]:
        """{version, seed, fingerprint, num_examples, batch_size, shuffle, drop_last, epoch, step}."""
        return {**self._identity, "epoch": self.epoch, "step": self._step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the last batch that the saved loader handed out; under any world size.

        Raises RuntimeError when the saved loader had other data, another global batch size, seed or order:
        its next batch does not exist here.
        """
        for name, here in self._identity.items():
            if name not in state:
                raise RuntimeError(f"data loader: the saved state has no {name!r}; the checkpoint is damaged")
            if state[name] != here:
                raise RuntimeError(
                    f"data loader: the saved run has {name} {state[name]!r}, this one {here!r}; "
                    f"resume with the saved value, or start a new run"
                )
        step = state.get("step")
        if not isinstance(step, int) or step < 0:
            raise RuntimeError(f"data loader: the saved state has step {step!r}; the checkpoint is damaged")
        self._step = step

    def _epoch_order(self, epoch: int) -> Int64[np.ndarray, "num_examples"]:
        if not self._identity["shuffle"]:
            return np.arange(self.num_examples)
        words = noise.words(self._order_key, np.array([0]), self.num_examples, epoch=epoch)
        return np.argsort(words[0], kind="stable")

    def _arguments(self, step: int) -> tuple[Int64[np.ndarray, "local"], int]:
        batch = self.indices(step)
        size = len(batch) // self._world_size
        return batch[self._rank * size : (self._rank + 1) * size], step // self.steps_per_epoch

    def _direct(self, end: int) -> Iterator[Batch]:
        while self._step < end:
            batch = self._fetch(*self._arguments(self._step))
            self._step += 1
            yield batch

    def _prepared(self, end: int) -> Iterator[Batch]:
        waiting: dict[int, Future[Batch]] = {}  # by step, so that seek and load_state_dict hold here too
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="linsight-loader")
        try:
            while self._step < end:
                for step in range(self._step, min(self._step + self._workers + 1, end)):
                    if step not in waiting:
                        waiting[step] = pool.submit(self._fetch, *self._arguments(step))
                batch = waiting.pop(self._step).result()
                self._step += 1
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)


def _at_least(minimum: int, **arguments: int) -> None:
    for name, value in arguments.items():
        if value < minimum:
            raise ValueError(f"{name}: expected at least {minimum}, got {value}")
