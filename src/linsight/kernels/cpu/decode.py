"""One step of a whole sequence model in one compiled call, over its weights laid out anew."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from linsight.kernels.cpu.library import run

__all__ = ["MAPS", "DecodedBlock", "DecodedEmbedding", "Decoder"]

PANEL = 64
"""Outputs of a product that lie side by side."""
ROWS = 48
"""Rows that a thread takes through the whole model at once."""
MAPS = ("identity", "elu1", "relu", "relu2", "softmax")
"""Feature maps by their numbers in decode.h; of the names of `linsight.nn.feature_map`."""


@dataclass(frozen=True)
class DecodedBlock:
    """x + mixer(norm(x)), then x + mlp(norm(x)) unless there is none; all in float32.

    Args:
        norm: `(dim,)`, weights of the norm before the mixer.
        project: `(2 heads keys + heads values, dim)`, to queries, keys and values.
        out: `(dim, heads values)`.
        heads, keys, values: Sizes of the state, `(batch, heads, keys, values)`; one more with `normalise`.
        feature_map: Of queries and keys, in `MAPS`.
        normalise: Divide by the sum of similarities, kept in the last column.
        mlp: `(dim,)` of the norm before it, `(2 hidden, dim)` to gates and values, `(dim, hidden)` back.
    """

    norm: Tensor
    project: Tensor
    out: Tensor
    heads: int
    keys: int
    values: int
    feature_map: str
    normalise: bool
    mlp: tuple[Tensor, Tensor, Tensor] | None


@dataclass(frozen=True)
class DecodedEmbedding:
    """A step's vector as a sum of rows: of the values at some distances back, of the start, and of the place.

    Args:
        cells: `(neighbours, vocabulary + 1, dim)`; the last row is that of a neighbour that is not there.
        distances: How far back each neighbour lies; 1 is the token that is read now.
        window: How many tokens before that one are kept.
        inside: `(places, neighbours)`, which are there; None: those that have been read.
        starts: `(starts, dim)` of the first token, whose values follow the vocabulary; None for none.
        positions: `(places, dim)`; None for none.
    """

    cells: Tensor
    distances: tuple[int, ...]
    window: int
    inside: Tensor | None
    starts: Tensor | None
    positions: Tensor | None


class _Matrix(ctypes.Structure):
    """`Matrix` of decode.h, field by field."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("inputs", "outputs", "half")),
    ]


class _Block(ctypes.Structure):
    """`Block` of decode.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("norm", "mlp_norm")),
        *((name, _Matrix) for name in ("project", "out", "gate_value", "mlp_out")),
        *((name, ctypes.c_int64) for name in ("heads", "keys", "values", "map", "normalise")),
        ("state", ctypes.c_void_p),
    ]


class _Embedding(ctypes.Structure):
    """`Embedding` of decode.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("vocabulary", "num_starts", "places", "neighbours", "window")),
        *((name, ctypes.c_void_p) for name in ("cells", "starts", "positions", "distances", "inside")),
    ]


class _Step(ctypes.Structure):
    """`Step` of decode.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("dim", "num_blocks", "rms")),
        ("embedding", _Embedding),
        ("blocks", ctypes.POINTER(_Block)),
        ("norm", ctypes.c_void_p),
        ("head", _Matrix),
        *((name, ctypes.c_void_p) for name in ("bias", "tokens", "start", "recent", "place", "logits")),
        ("refused", ctypes.c_int64),
    ]


class Decoder:
    """Steps of a model whose weights do not change in between: some are copied, others read where they are.

    Args:
        embedding: Tokens to vectors.
        blocks: At least one.
        norm: `(dim,)`, weights of the last norm.
        rms: RMS norm in place of layer norm, everywhere; eps 1e-5.
        head: `(outputs, dim)` and `(outputs,)`, weights and bias.
        half: Keep the blocks' matrices in bfloat16, rounded to nearest; everything is computed in float32.

    A step of a row costs as many products as there are weights and numbers in the state, twice. Memory of the
    copy: 4 bytes a weight, 2 with `half`; of a call: some 200 KB a thread at width 128.
    """

    def __init__(
        self,
        embedding: DecodedEmbedding,
        blocks: Sequence[DecodedBlock],
        norm: Tensor,
        head: tuple[Tensor, Tensor],
        *,
        rms: bool,
        half: bool = False,
    ) -> None:
        self._kept: list[Tensor] = []
        weight, bias = head
        self.num_outputs, dim = weight.shape
        self.window = embedding.window
        self._blocks = (_Block * len(blocks))(*(self._block(block, half) for block in blocks))
        self.state_shapes = [(b.heads, b.keys, b.values + b.normalise) for b in blocks]
        self._step = _Step(
            dim=dim,
            num_blocks=len(blocks),
            rms=rms,
            embedding=self._embedding(embedding),
            blocks=self._blocks,
            norm=self._own(norm),
            head=self._matrix(weight, half=False),
            bias=self._own(bias),
        )
        widths = [
            weight.shape[0],
            *(len(b.project) for b in blocks),
            *(len(b.mlp[1]) for b in blocks if b.mlp),
        ]
        self._scratch = ROWS * (2 * _padded(dim) + _padded(max(widths)))
        elements = sum(b.heads * b.keys * b.values for b in blocks)
        self._operations = 2 * (sum(x.numel() for x in self._kept) + 2 * elements)

    def step(
        self, tokens: Tensor, start: Tensor, recent: Tensor, place: Tensor, states: Sequence[Tensor]
    ) -> Tensor:
        """Read a token of every row: logits `(batch, outputs)`, and all but `tokens` changed in place.

        Args:
            tokens: `(batch,)` int64.
            start: `(batch,)` int64, the first token of each row; written at place 0.
            recent: `(batch, window)` int64, the tokens before this one, the newest last, -1 where none was.
            place: `(batch,)` int64, how many tokens each row has read.
            states: `(batch, *shape)` float32 for each of `state_shapes`.

        Raises:
            ValueError: A token or place is out of range; some rows may then have gone on.
        """
        batch, step = len(tokens), self._step
        tokens = tokens.contiguous()
        logits = torch.empty(batch, self.num_outputs)
        step.tokens, step.logits = tokens.data_ptr(), logits.data_ptr()
        step.start, step.recent, step.place = start.data_ptr(), recent.data_ptr(), place.data_ptr()
        for block, state in zip(self._blocks, states, strict=True):
            block.state = state.data_ptr()
        step.refused = 0
        run("decode", step, units=batch, scratch=self._scratch, operations=batch * self._operations)
        if step.refused:
            raise ValueError("tokens: one is out of range, or a row has no place left")
        return logits

    def _block(self, block: DecodedBlock, half: bool) -> _Block:
        mlp = block.mlp
        return _Block(
            norm=self._own(block.norm),
            project=self._matrix(block.project, half),
            out=self._matrix(block.out, half),
            mlp_norm=None if mlp is None else self._own(mlp[0]),
            gate_value=_Matrix() if mlp is None else self._matrix(mlp[1], half),
            mlp_out=_Matrix() if mlp is None else self._matrix(mlp[2], half),
            heads=block.heads,
            keys=block.keys,
            values=block.values,
            map=MAPS.index(block.feature_map),
            normalise=block.normalise,
        )

    def _embedding(self, given: DecodedEmbedding) -> _Embedding:
        neighbours, rows, _ = given.cells.shape
        table = given.positions if given.inside is None else given.inside
        return _Embedding(
            vocabulary=rows - 1,
            num_starts=0 if given.starts is None else len(given.starts),
            places=0 if table is None else len(table),
            neighbours=neighbours,
            window=given.window,
            cells=self._own(given.cells),
            starts=self._own(given.starts),
            positions=self._own(given.positions),
            distances=self._own(torch.tensor(given.distances)),
            inside=self._own(given.inside),
        )

    def _own(self, x: Tensor | None) -> int | None:
        """The address of x, copied where its numbers do not lie side by side, and kept as long as this."""
        if x is None:
            return None
        self._kept.append(x.detach().contiguous())
        return self._kept[-1].data_ptr()

    def _matrix(self, weight: Tensor, half: bool) -> _Matrix:
        """Weights `(outputs, inputs)` in panels of outputs, each input by input."""
        outputs, inputs = weight.shape
        weight = weight.detach().to(torch.bfloat16 if half else torch.float32)
        panels = F.pad(weight, (0, 0, 0, _padded(outputs) - outputs)).view(-1, PANEL, inputs)
        return _Matrix(self._own(panels.transpose(1, 2)), inputs, outputs, half)


def _padded(count: int) -> int:
    return -(-count // PANEL) * PANEL
