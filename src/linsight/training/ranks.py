"""The processes that train one run together: which one this is, and what they agree on."""

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Literal, TypeVar, get_args

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

__all__ = ["Followed", "Ranks", "Strategy"]

Strategy = Literal["ddp", "fsdp", "sequence"]
"""What is spread over the ranks: examples; examples and weights; the tokens of every row."""

T = TypeVar("T")
TIMEOUT = timedelta(minutes=30)  # a validation on the first rank, while the others wait
MEETING = timedelta(minutes=5)


class Followed(RuntimeError):
    """This rank ends because the first one does, which says why."""


class Ranks:
    """The processes that train together, numbered from 0. One alone asks nobody, and opens no connection.

    What they do together is called by every rank, in the same order.

    `ended` says that all of them stop because of something they agreed on, not because one of them broke.
    """

    def __init__(self, rank: int = 0, count: int = 1, local: int = 0, strategy: Strategy = "ddp") -> None:
        if strategy not in get_args(Strategy):
            raise ValueError(f"strategy: expected one of {', '.join(get_args(Strategy))}, got {strategy!r}")
        self.rank, self.count, self.local, self.strategy = rank, count, local, strategy
        self.ended = False

    @classmethod
    def here(cls, strategy: Strategy = "ddp") -> "Ranks":
        """As torchrun says in the environment; one process alone where it says nothing."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        if any(name not in os.environ for name in names):
            return cls(strategy=strategy)
        rank, count, local = (int(os.environ[name]) for name in names)
        return cls(rank, count, local, strategy)

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is one process only."""
        return self.count == 1

    @property
    def share(self) -> tuple[int, int]:
        """Which share of every batch is this rank's, and of how many: the one, where tokens are spread."""
        return (0, 1) if self.strategy == "sequence" else (self.rank, self.count)

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """In a `with` block the processes are connected: by gloo, and on CUDA by NCCL for what lies there."""
        if self.alone:
            yield
            return
        _connect(self.rank, self.count)
        try:
            yield
        finally:
            dist.destroy_process_group()

    def on_first(self, act: Callable[[], T]) -> T:
        """What `act` returns on the first rank, which alone calls it.

        Raises:
            Exception: The error of `act`, on the first rank.
            Followed: With the same message, on the others.
        """
        if self.alone:
            return act()
        error, answer = None, [None, None]
        if self.first:
            try:
                answer = [act(), None]
            except Exception as raised:
                error, answer = raised, [None, str(raised)]
        dist.broadcast_object_list(answer)
        if answer[1] is not None:
            raise self.ending(error or RuntimeError(answer[1]))
        return answer[0]  # pyright: ignore[reportReturnType]

    def ending(self, error: T) -> T | Followed:
        """What to raise for an error that all ranks share: itself on the first, `Followed` elsewhere."""
        self.ended = True
        return error if self.first else Followed(str(error))

    def largest(self, number: int) -> int:
        """The largest of the ranks' numbers."""
        if self.alone:
            return number
        numbers = torch.tensor([number])
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers)

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean over the ranks of each of the named numbers; all have the same names."""
        if self.alone:
            return dict(values)
        sums = torch.tensor([values[name] for name in sorted(values)], dtype=torch.float64)
        dist.all_reduce(sums)
        means = dict(zip(sorted(values), (sums / self.count).tolist(), strict=True))
        return {name: means[name] for name in values}

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Every rank's tensor on the CPU, all of one shape, in order."""
        if self.alone:
            return [tensor]
        parts = [torch.empty_like(tensor) for _ in range(self.count)]
        dist.all_gather(parts, tensor)
        return parts


def _connect(rank: int, count: int) -> None:
    """Make the process group, under a name in torchrun's store that no ranks had before.

    torchrun keeps its store over a restart: ranks started again would find the addresses of those that died,
    and be refused or wait for ever.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store, _, _ = next(rendezvous("env://", timeout=TIMEOUT))
    session = PrefixStore(f"linsight/{_meet(store, rank, count)}", store)
    dist.init_process_group(backend, store=session, rank=rank, world_size=count, timeout=TIMEOUT)


def _meet(store: Store, rank: int, count: int) -> str:
    """A name that these ranks have in common, and none of their number that was there before.

    Each says who it is; the first one tells all whom it heard, until every one has found itself among them.

    Raises:
        RuntimeError: Not all of them came in time.
    """
    own = uuid.uuid4().hex
    store.set(f"linsight/hello/{rank}", own)
    deadline = time.monotonic() + MEETING.total_seconds()
    while time.monotonic() < deadline:
        if rank == 0:
            if all(_read(store, f"linsight/answer/{other}") == own for other in range(1, count)):
                return own
            heard = [_read(store, f"linsight/hello/{other}") for other in range(1, count)]
            store.set("linsight/welcome", " ".join([own, *heard]))
        else:
            first, *others = _read(store, "linsight/welcome").split() or [""]
            if own in others:
                store.set(f"linsight/answer/{rank}", first)
                return first
        time.sleep(0.02)
    raise RuntimeError(f"rank {rank}: the {count} ranks did not meet within {MEETING.seconds} s")


def _read(store: Store, key: str) -> str:
    return store.get(key).decode() if store.check([key]) else ""
