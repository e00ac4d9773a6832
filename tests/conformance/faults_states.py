"""Linear attention with one defect each, in the state it carries: its place, dtype, size, memory."""

from typing import Any, NamedTuple

import torch
from honest_attention import Honest, Sums
from torch import Tensor

Result = tuple[Tensor, Any]


class LostPosition(Honest):
    """Every call begins at position 0, as rotary phases without an offset do."""

    def place(self, position: Tensor, length: int) -> Tensor:
        return super().place(torch.zeros_like(position), length)


class LostBlockPhase(Honest):
    """Blocks of 16 are counted from the beginning of the call: a split between blocks does not show it."""

    def project(self, x: Tensor, place: Tensor) -> tuple[Tensor, ...]:
        q, k, v = super().project(x, place)
        return q, k * (1 + 0.1 * (torch.arange(x.shape[1]) % 16)[:, None]), v


class StepAhead(Honest):
    """A single token is placed after itself: the step advances the position first."""

    def place(self, position: Tensor, length: int) -> Tensor:
        return super().place(position + (length == 1), length)


class SharedPosition(Honest):
    """One position for the whole batch, the first row's."""

    def place(self, position: Tensor, length: int) -> Tensor:
        return super().place(position[:1].expand(len(position)), length)


class StateAtTheEnd(Honest):
    """The position after a padded row is the padded length."""

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        return state._replace(position=state.position + valid.shape[1])


class EmptyRowForgets(Honest):
    """A row without tokens gets the initial state in place of its own."""

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        final, empty = super().finish(state, valid), self.initial_state(len(valid))
        return final._replace(weight=torch.where(valid.any(1)[:, None], final.weight, empty.weight))


class AlmostBlock(Honest):
    """A call one token short of a block forgets its last key; in a module of float32 alone."""

    dtypes = (torch.float32,)

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        short = valid.shape[1] == self.chunk - 1
        return super().finish(state._replace(weight=state.weight * (0.99 if short else 1)), valid)


class NoRowsLeft(Honest):
    """A call in which every row is padding forgets what went before; in a module of float32 alone."""

    dtypes = (torch.float32,)

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        return super().finish(state if valid.any() else self.initial_state(len(valid)), valid)


class Haunted(Honest):
    """A call without a state goes on where the last call of its batch size stopped."""

    kept: Sums | None = None

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> Result:
        if state is None and self.kept is not None and len(self.kept.total) == len(x):
            state = self.kept
        y, final = super().forward(x, state, lengths)
        self.kept = Sums(*(tensor.detach() for tensor in final))
        return y, final


class OtherBeginning(Honest):
    """`initial_state` counts a token that a call without a state does not."""

    def initial_state(self, batch: int) -> Sums:
        return super().initial_state(batch)._replace(weight=torch.ones(batch, self.dim, dtype=self.wide))

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> Result:
        return super().forward(x, super().initial_state(len(x)) if state is None else state, lengths)


class InPlace(Honest):
    """Adds into the tensors it was given."""

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        final = super().finish(state, valid)
        state.position.copy_(final.position)
        return final


class StaticBuffer(Honest):
    """Without gradients the state is one buffer of the module, which the next call overwrites."""

    buffer: Tensor | None = None

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        if torch.is_grad_enabled():
            return super().finish(state, valid)
        if self.buffer is None or self.buffer.shape != state.total.shape or self.buffer.dtype != self.wide:
            self.buffer = torch.zeros_like(state.total)
        return super().finish(state._replace(total=self.buffer.copy_(state.total)), valid)


class SharedRoom(Honest):
    """Without gradients a step leaves room for the sums of the next, and every next one takes it."""

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> Result:
        y, final = super().forward(x, state, lengths)
        if torch.is_grad_enabled() or state is None or x.shape[1] > 1:
            return y, final
        room = getattr(state.total, "room", None)
        total: Any = final.total if room is None else room.copy_(final.total)
        total.room = torch.empty_like(total)
        return y, final._replace(total=total)


class HiddenCache(Honest):
    """The module keeps the sums itself; the state that it hands out is a ticket."""

    kept: Sums | None = None

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> Result:
        if state is not None and self.kept is not None and len(self.kept.total) == len(x):
            state = self.kept
        y, self.kept = super().forward(x, state, lengths)
        return y, self.kept


class Hoard(NamedTuple):
    """As `Sums`, and every token so far."""

    total: Tensor
    weight: Tensor
    position: Tensor
    seen: Tensor


class Hoarder(Honest):
    """Keeps every token that it has seen, and says that its state does not grow."""

    def initial_state(self, batch: int) -> Any:
        return Hoard(*super().initial_state(batch), self.zeros(batch, 0, self.dim))

    def mix(self, x: Tensor, valid: Tensor, state: Any) -> Result:
        y, sums = super().mix(x, valid, Sums(*state[:3]))
        return y, Hoard(*sums, torch.cat([state.seen, x.to(self.wide)], dim=1))


class Underweight(Honest):
    """Forgets a tensor when it says how large the state is."""

    def state_size(self, length: int) -> int:
        return super().state_size(length) - 8


class SizeOfTheWeights(Honest):
    """Says its size in the dtype of the weights: half of the truth in bfloat16."""

    def state_size(self, length: int) -> int:
        return (super().state_size(length) - 8) * self.weights.itemsize // self.wide.itemsize + 8


class BatchSecond(Honest):
    """The batch is the second axis of the sums."""

    def initial_state(self, batch: int) -> Sums:
        return self.turned(super().initial_state(batch))

    def check(self, x: Tensor, state: Any, lengths: Tensor | None) -> None:
        super().check(x, None if state is None else self.turned(state), lengths)

    def mix(self, x: Tensor, valid: Tensor, state: Sums) -> Result:
        y, final = super().mix(x, valid, self.turned(state))
        return y, self.turned(final)

    def turned(self, state: Sums) -> Sums:
        return state._replace(total=state.total.transpose(0, 1))


class HalfState(Honest):
    """Hands its running sums over in bfloat16."""

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        total, weight, position = super().finish(state, valid)
        return Sums(total.bfloat16(), weight.bfloat16(), position)

    def mix(self, x: Tensor, valid: Tensor, state: Sums) -> Result:
        total, weight, position = state
        return super().mix(x, valid, Sums(total.to(self.wide), weight.to(self.wide), position))


class RoundedState(Honest):
    """Rounds its running sums to bfloat16 and hands them over as wide numbers."""

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        total, weight, position = super().finish(state, valid)
        return Sums(total.bfloat16().to(self.wide), weight.bfloat16().to(self.wide), position)


class StateOfTheWeights(Honest):
    """Adds up in the dtype of the weights: right in float32, and stuck at 256 in bfloat16."""

    @property
    def wide(self) -> torch.dtype:
        return self.weights.dtype


class StateOfTheAutocast(Honest):
    """Hands its sums over in the dtype of the autocast around it."""

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> Result:
        y, (total, weight, position) = super().forward(x, state, lengths)
        if torch.is_autocast_enabled("cpu"):
            total = total.to(torch.get_autocast_dtype("cpu"))
        return y, Sums(total, weight, position)


class SumsOfTheAutocast(Honest):
    """Adds up in the dtype of the autocast around it, as an unguarded matmul does, and widens the sums."""

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> Result:
        y, final = super().forward(x, state, lengths)
        if torch.is_autocast_enabled("cpu"):
            rounded = final.total.to(torch.get_autocast_dtype("cpu")).to(self.wide)
            final = final._replace(total=rounded)
        return y, final


class StateOfFloat16(Honest):
    """Widens bfloat16 alone: in a float16 module the state is float16."""

    @property
    def wide(self) -> torch.dtype:
        dtype = self.weights.dtype
        return dtype if dtype == torch.float16 else torch.promote_types(dtype, torch.float32)


class SingleState(Honest):
    """Adds up in float32 whatever the module is, and loses the digits of a float64 one."""

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        final = super().finish(state, valid)
        return final._replace(total=final.total.float())

    def mix(self, x: Tensor, valid: Tensor, state: Sums) -> Result:
        return super().mix(x, valid, state._replace(total=state.total.to(self.wide)))


class RealPosition(Honest):
    """Counts positions in float32, which stop at 2^24."""

    def initial_state(self, batch: int) -> Sums:
        return super().initial_state(batch)._replace(position=torch.zeros(batch))


class ShortPosition(Honest):
    """Counts positions in 32 bits."""

    def initial_state(self, batch: int) -> Sums:
        return super().initial_state(batch)._replace(position=torch.zeros(batch, dtype=torch.int32))

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        final = super().finish(state, valid)
        return final._replace(position=final.position.int())


class RebuiltTable(Honest):
    """Builds its table of phases anew at each call, for all positions so far."""

    def wave(self, place: Tensor) -> Tensor:
        table = super().wave(torch.arange(int(place.max()) + 1 if place.numel() else 0))
        return table[place]


class Detached(Honest):
    """Cuts the gradient at the boundary of a call."""

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        return Sums(*(tensor.detach() for tensor in super().finish(state, valid)))


class DeafNormaliser(Honest):
    """Cuts the gradient of one tensor of the state that it is given."""

    def mix(self, x: Tensor, valid: Tensor, state: Sums) -> Result:
        return super().mix(x, valid, state._replace(weight=state.weight.detach()))
