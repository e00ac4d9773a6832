"""What a module asks of the optimiser for its parameters, kept by name."""

from typing import NamedTuple

from torch import nn

__all__ = ["Hinted"]


class Hint(NamedTuple):
    """What is asked for one parameter; the defaults ask for nothing."""

    decay: bool = True
    lr_scale: float | None = None
    lr_max: float | None = None
    output: bool = False


class Hinted(nn.Module):
    """A module that tells the optimiser by name how its parameters learn; `linsight.optim.rules` reads it.

    Names belong to the module, and so outlive the tensors behind them. What is written on a parameter is lost
    silently by whatever makes another one of it: `copy.deepcopy`, `load_state_dict(assign=True)`, `to_empty`,
    parametrisations, FSDP.

    Example:
        >>> import torch
        >>> class Scan(Hinted):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.A_log = nn.Parameter(torch.zeros(4, 2))
        ...         self.hint("A_log", decay=False, lr_max=1e-3)
        >>> Scan().no_weight_decay(), Scan().lr_caps()
        ({'A_log'}, {'A_log': 0.001})
    """

    _hints: dict[str, Hint] = {}  # noqa: RUF012  (never changed: `hint` gives the instance its own)

    def hint(self, *names: str, **asked: float | bool) -> None:
        """Ask for what is given, and leave what earlier calls asked for.

        Args:
            names: Of parameters that exist, relative to this module: `A_log`, `dt_proj.bias`.
            asked: `decay=False`: no weight decay, for what decay towards 0 would bend. `lr_scale`: factor of
                the learning rate. `lr_max`: the most that it may be. `output=True`: a matrix of the model's
                outputs, whose rows are of their own each, so that Muon leaves it to AdamW.

        Raises:
            ValueError: A name that is no parameter of this module.
        """
        known = dict(self.named_parameters(remove_duplicate=False))
        for name in names:
            if name not in known:
                own = ", ".join(known) or "none"
                raise ValueError(
                    f"hint: expected a parameter of {type(self).__name__}, which has {own}; got {name!r}"
                )
            hint = self._hints.get(name, Hint())._replace(**asked)
            self._hints = {**self._hints, name: hint}

    def hint_outputs(self, *modules: str) -> None:
        """Say of all matrices and kernels in these submodules that they are the model's outputs."""
        inside = tuple(f"{module}." for module in modules)
        names = [n for n, one in self.named_parameters() if one.ndim > 1 and n.startswith(inside)]
        self.hint(*names, output=True)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are not decayed."""
        return {name for name, hint in self._hints.items() if not hint.decay}

    def lr_scales(self) -> dict[str, float]:
        """Factors of the learning rate by name."""
        return {name: hint.lr_scale for name, hint in self._hints.items() if hint.lr_scale is not None}

    def lr_caps(self) -> dict[str, float]:
        """The most that the learning rate may be, at factor 1 of the schedule, by name."""
        return {name: hint.lr_max for name, hint in self._hints.items() if hint.lr_max is not None}

    def output_weights(self) -> set[str]:
        """Names of matrices of the model's outputs, which are nothing for Muon."""
        return {name for name, hint in self._hints.items() if hint.output}
