"""Changes to a complete configuration before its fields are overridden one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, get_args, get_type_hints

from linsight.cli.mixer_words import mixer_config, typed_options
from linsight.config import of_kind

__all__ = [
    "kinds_in",
    "with_decoder",
    "with_head",
    "with_mixers",
    "with_model",
    "with_noise",
    "with_optimizer",
    "with_upsampler",
]


SEQUENCE = "sequence"
"""What a density by a sequence model is called on the command line."""


def with_mixers(config: Any, kinds: Sequence[str]) -> Any:
    """The configuration with the mixers of its stack replaced, each kind with the options named.

    Args:
        config: The configuration.
        kinds: Kinds of mixers, each with its options (`linear heads=2`), which take turns over the layers; or
            one name of `PATTERNS`.

    Raises:
        ValueError: An unknown kind or option, or a configuration without mixers.
    """
    # After --help, which needs no model.
    from linsight.models.sequence import PATTERNS, stacks_in, with_stacks

    names = [kind.strip() for kind in kinds]
    if len(names) == 1 and names[0] in PATTERNS:
        change = PATTERNS[names[0]]
    else:
        change = partial(replace, mixers=tuple(mixer_config(name) for name in names))
    if not any(stacks_in(config)):
        raise ValueError(f"--mixer: {type(config).__name__} has no mixers to replace")
    return with_stacks(config, change)


def with_model(config: Any, kind: str) -> Any:
    """The run with a model of this kind, of the same images and labels, its other options the kind's own.

    Raises:
        ValueError: An unknown kind, or a task whose models are all of one.
    """
    from linsight import densities
    from linsight.models.sequence import ImageDensityConfig
    from linsight.tasks.generate import GenerateConfig

    if not isinstance(config.task, GenerateConfig):
        raise ValueError(f"--model: the task {config.task.kind!r} has one kind of model")
    known = (SEQUENCE, *densities.kinds())
    if kind not in known:
        raise ValueError(f"--model: expected one of {', '.join(known)}, got {kind!r}")
    old = config.task.model
    if kind == old.kind or (kind == SEQUENCE and isinstance(old, ImageDensityConfig)):
        return config
    options: Any = {name: getattr(old, name) for name in ("height", "width", "classes", "label")}
    model = ImageDensityConfig(**options) if kind == SEQUENCE else densities.config(kind, **options)
    return replace(config, task=replace(config.task, model=model))


def with_decoder(config: Any, kind: str) -> Any:
    """The run with a decoder of this kind, whose options are its own.

    Raises:
        ValueError: An unknown kind, or a task whose model has no decoder.
    """
    from linsight.models.vision import decoder_config

    model = _with_a_decoder(config, "--decoder")
    return replace(config, task=replace(config.task, model=replace(model, decoder=decoder_config(kind))))


def with_upsampler(config: Any, name: str) -> Any:
    """The run whose decoder has this upsampler; for `unpool`, with a backbone that pools.

    Raises:
        ValueError: An unknown name, a decoder that does not take it, or a task whose model has no decoder.
    """
    model = _with_a_decoder(config, "--upsampler")
    backbone = replace(model.backbone, downsample="pool") if name == "unpool" else model.backbone
    model = replace(model, backbone=backbone, decoder=replace(model.decoder, upsampler=name))
    return replace(config, task=replace(config.task, model=model))


def _with_a_decoder(config: Any, flag: str) -> Any:
    from linsight.models.vision import DenseConfig

    if not isinstance(getattr(config.task, "model", None), DenseConfig):
        raise ValueError(f"{flag}: the models of task {config.task.kind!r} have no decoder")
    return config.task.model


def with_head(config: Any, words: str) -> Any:
    """The run whose model has the codec that these words name, the rest of the model as it was.

    Raises:
        ValueError: An unknown codec, one that the model cannot have, or a task whose model has none.
    """
    if not getattr(config.task, "heads", ()):
        raise ValueError(f"--head: the models of task {config.task.kind!r} have no codec")
    return replace(config, task=config.task.with_codec(words))


def with_noise(config: Any, words: str) -> Any:
    """The run whose labels have noise of the law that `KIND OPTION=VALUE ...` names.

    Raises:
        ValueError: An unknown law or option, a value that it refuses, or a task whose labels have no noise.
    """
    known = {law.kind: law for law in get_args(get_type_hints(type(config.task)).get("label_noise"))}
    if not known:
        raise ValueError(f"--noise: the labels of task {config.task.kind!r} have no noise of a known law")
    kind, *given = words.split() or [""]
    hints = get_type_hints(known[kind]) if kind in known else {}
    law = of_kind("label noise", known, kind, typed_options(f"label noise {kind!r}", hints, given))
    return replace(config, task=replace(config.task, label_noise=law))


def with_optimizer(config: Any, kind: str) -> Any:
    """The run with an optimiser of this kind; fields of the same name keep their values.

    Raises:
        ValueError: An unknown kind.
    """
    from linsight.optim import OptimizerConfig

    known = {option.kind: option for option in get_args(OptimizerConfig)}
    if kind not in known:
        raise ValueError(f"--optimizer: expected one of {', '.join(known)}, got {kind!r}")
    old = config.training.optimizer
    shared = {field.name for field in fields(old)} & {field.name for field in fields(known[kind])} - {"kind"}
    optimizer = known[kind](**{name: getattr(old, name) for name in shared})
    return replace(config, training=replace(config.training, optimizer=optimizer))


def kinds_in(config: Any) -> set[str]:
    """The `kind` of every configuration inside this one."""
    return {part.kind for part in _walk(config) if isinstance(getattr(part, "kind", None), str)}


def _walk(config: Any) -> Iterator[Any]:
    if isinstance(config, tuple):
        for part in config:
            yield from _walk(part)
    elif is_dataclass(config):
        yield config
        for part in fields(config):
            yield from _walk(getattr(config, part.name))
