"""Files of tensors: written whole or not at all, read on any device, set aside where they cannot be read."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from indrnn import files


def save_tensors(path: Path, state: dict[str, Any]) -> None:
    """torch.save, whole or not at all; through memory, because on a full disk torch loses the reason of its error.

    Tensors are written as those of a CPU: what a GPU has made is then read where there is none.
    """
    content = io.BytesIO()
    torch.save(apply_to_collection(state, Tensor, Tensor.cpu), content)
    files.replace_whole(path, lambda part: part.write_bytes(content.getbuffer()))


def load_tensors(path: Path) -> dict[str, Any]:
    """What ``save_tensors`` wrote, or torch.save on a GPU, as tensors of the CPU.

    Raises:
        zipfile.BadZipFile: it is not what was written, by the checksums that torch writes into it and does not read.
        UserError: it is no regular file; such are not waited for.
        Exception: whatever the unpickler meets first in a damaged file.
    """
    files.refuse_irregular(path)
    with zipfile.ZipFile(path) as archive:
        if name := archive.testzip():
            raise zipfile.BadZipFile(f"{name} differs from its checksum")
    return torch.load(path, weights_only=True, map_location="cpu")


def set_aside(path: Path) -> Path:
    """Give a file a name that nothing overwrites, ``last.ckpt.unread`` for ``last.ckpt``; returns it."""
    number, aside = 1, path.with_name(f"{path.name}.unread")
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.unread{number}")
    return path.rename(aside)
