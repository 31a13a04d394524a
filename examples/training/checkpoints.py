"""Checkpoints that a killed run resumes from, and weights to load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.errors import TrainingError

_FORMAT = 1


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint in one step: a kill leaves the old one or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".writing")
    torch.save({"format": _FORMAT, **state}, temporary)
    temporary.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        TrainingError: If it is missing, cut off, or something else.
    """
    if not path.is_file():
        raise TrainingError(f"there is no checkpoint {path}.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its readers raise
        raise TrainingError(f"{path} cannot be read as a checkpoint: {str(error).splitlines()[0]}") from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT or "model" not in state:
        raise TrainingError(f"{path} is no checkpoint of these programs.")
    return state


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Give a model the weights of a checkpoint.

    Raises:
        TrainingError: If they are another model's; names what differs first.
    """
    own = model.state_dict()
    for name in [*own, *weights]:
        if name not in weights or name not in own:
            holder = "the checkpoint" if name in weights else "the model"
            raise TrainingError(
                f"{path} is of another model: only {holder} has {name!r}. Was it trained with another --model, "
                "--width or --data?"
            )
        if own[name].shape != weights[name].shape:
            raise TrainingError(
                f"{path} is of another model: {name!r} has shape {list(weights[name].shape)} there, and "
                f"{list(own[name].shape)} here. Was it trained with another --model, --width or --data?"
            )
    model.load_state_dict(dict(weights))
