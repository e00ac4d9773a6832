"""TensorBoard events, written by whoever calls, so that a full disk is the caller's error to name."""

import io
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["EventLog"]


class EventLog:
    """Appends scalars to TensorBoard events in `folder`; older files lose what they say of `step` and later.

    torch's `SummaryWriter` writes from a thread of its own: where that fails, the thread prints a traceback
    and the caller learns of it at some later call, or never.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2

        # protobuf makes the classes of these modules when they are imported: no type checker sees them.
        self._event: Any = vars(event_pb2)["Event"]
        self._summary: Any = vars(summary_pb2)["Summary"]
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._path = folder / name
        start = vars(event_pb2)["SessionLog"](status="START")
        self._append(self._event(file_version="brain.Event:2"), self._event(step=step, session_log=start))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append one scalar for each name.

        Raises:
            OSError: They cannot be written.
        """
        scalars = [{"tag": name, "simple_value": value} for name, value in values.items()]
        self._append(self._event(step=step, summary=self._summary(value=scalars)))

    def _append(self, *events: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        content = io.BytesIO()
        records = RecordWriter(content)
        for event in events:
            event.wall_time = time.time()
            records.write(event.SerializeToString())
        with open(self._path, "ab", buffering=0) as file:
            file.write(content.getvalue())
