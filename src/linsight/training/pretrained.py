"""Trained models as folders of two files, `model.safetensors` and `config.json`; on disk or on the Hub."""

import json
import os
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from linsight.training.codec import from_json, to_json
from linsight.training.config import PublishedConfig, RunConfig
from linsight.training.files import digest_tensors, read_text, write_atomically
from linsight.training.weights import collect_weights, restore_weights

__all__ = ["from_pretrained", "is_pretrained", "pretrained_config", "push_to_hub", "save_pretrained"]

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def save_pretrained(
    model: nn.Module, config: RunConfig | PublishedConfig, folder: str | os.PathLike[str]
) -> str:
    """Write a model and the configuration it was made by; tied weights once.

    Returns:
        The model's identity, SHA-256 (hex) of its weights, which is also written beside them.

    Raises:
        OSError: A file cannot be written; what was there is intact.
    """
    folder = Path(folder)
    text = to_json(config)
    weights = collect_weights(model)
    digest = digest_tensors(weights)
    folder.mkdir(parents=True, exist_ok=True)
    # One entry: safetensors writes several in random order, and equal models should be equal files.
    write_atomically(folder / WEIGHTS, safetensors.torch.save(weights, {"sha256": digest}))
    write_atomically(folder / CONFIG, text.encode())
    return digest


def from_pretrained(
    source: str | os.PathLike[str],
    *,
    hub: bool = False,
    revision: str | None = None,
    config_type: type[RunConfig] = RunConfig,
) -> nn.Module:
    """The model of a folder, in eval mode on the CPU; neither its data nor its task is needed.

    Args:
        source: A folder; or, with `hub`, a repository of the Hugging Face Hub (`owner/name`), which is
            downloaded. Without `hub` nothing touches a network.
        hub: Whether `source` is a repository.
        revision: Branch, tag or commit of the repository.
        config_type: The class of the configuration, for a task of one's own.

    Raises:
        FileNotFoundError: No model is there.
        ValueError: The configuration cannot be read, or `revision` without `hub`.
        RuntimeError: The weights are damaged, or of another model; the message begins with the file.
    """
    folder = _folder(source, hub=hub, revision=revision)
    model = _build(pretrained_config(folder, config_type))
    file = folder / WEIGHTS
    try:
        with safetensors.safe_open(file, framework="pt") as content:
            digest = (content.metadata() or {}).get("sha256")
            weights = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise RuntimeError(f"{file}: damaged ({error}); get the file again") from None
    if digest != digest_tensors(weights):
        raise RuntimeError(f"{file}: damaged (its SHA-256 does not match); get the file again")
    restore_weights(model, weights, where=str(file))
    return model.eval()


def pretrained_config(
    folder: str | os.PathLike[str], config_type: type[RunConfig] = RunConfig
) -> RunConfig | PublishedConfig:
    """The configuration of a model's folder: the run that made it, or what `convert_published` wrote.

    A run's `.task.build()` is the task that the model was trained for.

    Raises:
        FileNotFoundError: No model is there.
        ValueError: The configuration cannot be read.
    """
    folder = Path(folder)
    if not is_pretrained(folder):
        raise FileNotFoundError(f"{folder}: no model is here (expected {WEIGHTS} and {CONFIG})")
    text = read_text(folder / CONFIG)
    kind = PublishedConfig if _is_published(text) else config_type
    return from_json(kind, text, where=str(folder / CONFIG))


def is_pretrained(folder: Path) -> bool:
    """Whether both files of a model are there."""
    return (folder / WEIGHTS).is_file() and (folder / CONFIG).is_file()


def push_to_hub(
    folder: str | os.PathLike[str],
    repository: str,
    *,
    private: bool = False,
    api: Any = None,
    config_type: type[RunConfig] = RunConfig,
) -> str:
    """Upload a model's folder to `owner/name` on the Hugging Face Hub; returns the commit's address.

    Args:
        folder: As `save_pretrained` wrote it; it is read and checked first.
        repository: Made if it does not exist.
        private: Whether a new repository is private.
        api: A `huggingface_hub.HfApi`; by default one with the user's own login.
        config_type: The class of the configuration, for a task of one's own.

    Raises:
        As `from_pretrained`, and what `huggingface_hub` raises.
    """
    from_pretrained(folder, config_type=config_type)
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi()
    api.create_repo(repository, private=private, exist_ok=True)
    commit = api.upload_folder(repo_id=repository, folder_path=str(folder), allow_patterns=[WEIGHTS, CONFIG])
    return str(commit)


def _folder(source: str | os.PathLike[str], *, hub: bool, revision: str | None) -> Path:
    if not hub:
        if revision is not None:
            raise ValueError("revision: a folder has none; pass hub=True to load a repository of the Hub")
        if not Path(source).is_dir():
            raise FileNotFoundError(
                f"{source}: no such folder; pass hub=True to download a repository of that name"
            )
        return Path(source)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(str(source), revision=revision, allow_patterns=[WEIGHTS, CONFIG]))


def _is_published(text: str) -> bool:
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        return False
    return isinstance(data, dict) and data.get("kind") == "published"


def _build(config: RunConfig | PublishedConfig) -> nn.Module:
    # The initial values are overwritten; the caller's random state is none of their business.
    with torch.random.fork_rng(devices=[]):
        return (config if isinstance(config, PublishedConfig) else config.task).model.build()
