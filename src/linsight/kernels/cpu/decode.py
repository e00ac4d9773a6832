"""One step of a whole sequence model in one compiled call, over its weights laid out anew."""

import ctypes
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from linsight.kernels.cpu.decoded import (
    FUNCTIONS,
    KERNELS,
    MAPS,
    BlockState,
    DecodedBlock,
    DecodedConvolution,
    DecodedEmbedding,
    DecodedMixer,
    DecodedProjection,
)
from linsight.kernels.cpu.library import run

__all__ = ["Decoder"]

PANEL = 64
"""Outputs of a product that lie side by side."""
ROWS = 48
"""Rows that a thread takes through the whole model at once."""
PLACES = ("q", "k", "v", "gate", "step", "beta", "decay", "learning", "residual")
PARTS = ("shift", "peak", "position", "draw")
VECTORS = (
    *("frequencies", "constant", "rate", "step_bias", "skip", "bonus", "own", "removal", "replacement"),
    *("norm", "norm_bias"),
)


class _Matrix(ctypes.Structure):
    """`Matrix` of decode.h, field by field."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("inputs", "outputs", "half")),
    ]


class _Projection(ctypes.Structure):
    """`Projection` of decode_mixers.h, field by field."""

    _fields_ = [
        ("weights", _Matrix),
        *((name, ctypes.c_int64) for name in ("input", "share_at", "function")),
        *((name, ctypes.c_void_p) for name in ("share", "bias")),
    ]


class _Convolution(ctypes.Structure):
    """`Convolution` of decode_mixers.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("first", "channels")),
        *((name, ctypes.c_void_p) for name in ("weights", "bias", "inputs")),
    ]


class _Mixing(ctypes.Structure):
    """`Mixing` of decode_mixers.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in PLACES),
        *(
            (name, ctypes.c_int64)
            for name in ("heads", "groups", "keys", "values", "map", "normalise", "unit")
        ),
        *((name, ctypes.c_int64) for name in ("taps", "num_convolutions", "num_projections")),
        *(
            (name, ctypes.c_int64)
            for name in ("norm_groups", "gate_first", "gate_function", "relays", "kernel")
        ),
        ("own_draw", ctypes.c_int64),
        *((name, ctypes.c_double) for name in ("scale", "largest", "norm_eps")),
        *((name, ctypes.c_void_p) for name in VECTORS),
        ("convolutions", _Convolution * 3),
        ("projections", ctypes.POINTER(_Projection)),
        ("features", _Matrix),
        *((name, ctypes.c_void_p) for name in ("rates", "state", *PARTS)),
    ]


class _Block(ctypes.Structure):
    """`Block` of decode.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("norm", "mlp_norm")),
        *((name, _Matrix) for name in ("out", "gate_value", "mlp_out")),
        ("mixing", _Mixing),
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
        *((name, ctypes.c_int64) for name in ("dim", "num_blocks", "rms", "widest_y", "widest_o")),
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
    copy: 4 bytes a weight, 2 with `half`; of a call: 200 to 400 KB a thread at width 128.
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
        mixers = [block.mixer for block in blocks]
        widths = [
            len(weight),
            *(m.numbers + PANEL for m in mixers),
            *(len(b.mlp[1]) for b in blocks if b.mlp),
        ]
        self._step = _Step(
            dim=dim,
            num_blocks=len(blocks),
            rms=rms,
            widest_y=_padded(max(widths)),
            widest_o=_padded(max(dim, *(m.heads * m.values for m in mixers))),
            embedding=self._embedding(embedding),
            blocks=self._blocks,
            norm=self._own(norm),
            head=self._matrix(weight, half=False),
            bias=self._own(bias),
        )
        rows = 2 * _padded(dim) + self._step.widest_y + 2 * self._step.widest_o
        self._scratch = ROWS * rows + max(map(_room, mixers))
        self._expected = [
            *(
                ("start", (), torch.int64),
                ("recent", (self.window,), torch.int64),
                ("place", (), torch.int64),
            ),
            *(part for mixer in mixers for part in _parts(mixer, dim)),
        ]
        elements = sum(m.heads * m.keys * m.values for m in mixers)
        self._operations = 2 * (sum(x.numel() for x in self._kept) + 2 * elements)

    def step(
        self, tokens: Tensor, start: Tensor, recent: Tensor, place: Tensor, states: Sequence[BlockState]
    ) -> Tensor:
        """Read a token of every row: logits `(batch, outputs)`, and all but `tokens` changed in place.

        Args:
            tokens: `(batch,)` int64.
            start: `(batch,)` int64, the first token of each row; written at place 0.
            recent: `(batch, window)` int64, the tokens before this one, the newest last, -1 where none was.
            place: `(batch,)` int64, how many tokens each row has read.
            states: Of each block; all in float32 but positions, and without gaps, as all the others.

        Raises:
            ValueError: A tensor of another shape or dtype, or with gaps; a token or place out of range, or a
                memory of other random features, where some rows may then have gone on.
        """
        batch, step = len(tokens), self._step
        tokens = tokens.to(torch.int64).contiguous()
        given = [start, recent, place]
        for state in states:
            others = (getattr(state, name) for name in PARTS)
            given += [state.memory, *state.inputs, *(x for x in others if x is not None)]
        for (name, shape, dtype), x in zip(self._expected, given, strict=True):
            if x.shape != (batch, *shape) or x.dtype != dtype or not x.is_contiguous():
                raise ValueError(
                    f"{name}: expected {(batch, *shape)} of {dtype} without gaps, "
                    f"got {tuple(x.shape)} of {x.dtype}"
                )
        logits = torch.empty(batch, self.num_outputs)
        step.tokens, step.logits = tokens.data_ptr(), logits.data_ptr()
        step.start, step.recent, step.place = start.data_ptr(), recent.data_ptr(), place.data_ptr()
        for block, state in zip(self._blocks, states, strict=True):
            mixing = block.mixing
            mixing.state = state.memory.data_ptr()
            for name in PARTS:
                x = getattr(state, name)
                setattr(mixing, name, None if x is None else x.data_ptr())
            for index, inputs in enumerate(state.inputs):
                mixing.convolutions[index].inputs = inputs.data_ptr()
        step.refused = 0
        run("decode", step, units=batch, scratch=self._scratch, operations=batch * self._operations)
        if step.refused:
            raise ValueError(
                "tokens: one is out of range, or a row has no place left or features of another draw"
            )
        return logits

    def _block(self, block: DecodedBlock, half: bool) -> _Block:
        mlp = block.mlp
        return _Block(
            norm=self._own(block.norm),
            out=self._matrix(block.mixer.out, half),
            mixing=self._mixing(block.mixer, half),
            mlp_norm=None if mlp is None else self._own(mlp[0]),
            gate_value=_Matrix() if mlp is None else self._matrix(mlp[1], half),
            mlp_out=_Matrix() if mlp is None else self._matrix(mlp[2], half),
        )

    def _mixing(self, mixer: DecodedMixer, half: bool) -> _Mixing:
        numbers = ("heads", "keys", "values", "normalise", "unit", "norm_groups", "gate_first", "relays")
        convolutions = [self._convolution(one) for one in mixer.convolutions]
        features = mixer.features
        projections = [self._projection(one, half) for one in mixer.project]
        return _Mixing(
            **{name: getattr(mixer, name) for name in (*numbers, "scale", "largest", "norm_eps")},
            **{name: _place(getattr(mixer, name)) for name in PLACES},
            **{name: self._own(getattr(mixer, name)) for name in (*VECTORS, "rates")},
            groups=mixer.groups or mixer.heads,
            map=MAPS.index(mixer.feature_map),
            gate_function=FUNCTIONS.index(mixer.gate_function),
            kernel=KERNELS.index(mixer.kernel),
            own_draw=mixer.draw,
            features=_Matrix() if features is None else self._matrix(features, half=False),
            taps=len(mixer.convolutions[0].weights) if mixer.convolutions else 0,
            num_convolutions=len(convolutions),
            num_projections=len(projections),
            convolutions=(_Convolution * 3)(*convolutions),
            projections=(_Projection * len(projections))(*projections),
        )

    def _projection(self, one: DecodedProjection, half: bool) -> _Projection:
        share, place = (one.share, None) if isinstance(one.share, Tensor) else (None, one.share)
        return _Projection(
            weights=self._matrix(one.weight, half),
            input=_place(one.input),
            share_at=_place(place),
            function=FUNCTIONS.index(one.function),
            share=self._own(share),
            bias=self._own(one.bias),
        )

    def _convolution(self, one: DecodedConvolution) -> _Convolution:
        weights, bias = self._own(one.weights), self._own(one.bias)
        return _Convolution(first=one.first, channels=one.weights.shape[1], weights=weights, bias=bias)

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


def _parts(mixer: DecodedMixer, dim: int) -> list[tuple[str, tuple[int, ...], torch.dtype]]:
    """Name, shape of a row and dtype of what a mixer's `BlockState` holds."""
    memory = (mixer.heads, mixer.keys, mixer.values + mixer.normalise)
    return [
        ("memory", memory if mixer.rates is None else memory[:2], torch.float32),
        *(
            ("inputs", (len(one.weights) - 1, one.weights.shape[1]), torch.float32)
            for one in mixer.convolutions
        ),
        *((("shift", (dim,), torch.float32),) if mixer.shifts else ()),
        *(() if mixer.features is None else (("peak", (mixer.heads,), torch.float32),)),
        *(() if mixer.frequencies is None else (("position", (), torch.int64),)),
        *(() if mixer.features is None else (("draw", (), torch.int64),)),
    ]


def _room(mixer: DecodedMixer) -> int:
    """Floats that a row of it needs beside its projections."""
    removed = 0 if mixer.removal is None else mixer.keys
    features = 0 if mixer.features is None else 2 * _padded(mixer.keys)
    return mixer.heads * (3 + removed + features)


def _place(number: int | None) -> int:
    return -1 if number is None else number


def _padded(count: int) -> int:
    return -(-count // PANEL) * PANEL
