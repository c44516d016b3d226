"""Read named tensors from weight files, one at a time.

Supports safetensors and checkpoints that torch pickled. Pickled checkpoints are loaded with `weights_only=True`, which
refuses anything but tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from bindsearch.errors import DamagedWeights, MissingWeights

_SAFE = ".safetensors"


class TensorFile:
    """The tensors of a file by name, without the `module.` prefix that distributed training adds."""

    def __init__(self, names: dict[str, str], read: Callable[[str], Any]) -> None:
        self._names = names
        """Name without prefix -> name in the file."""
        self._read = read

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, name: str) -> Any:
        return self._read(self._names[name])


def first_existing(folder: Path, names: Sequence[str]) -> Path:
    """Return the first of these files that exists in the folder. Raises `MissingWeights` if none does."""
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise MissingWeights(f"{folder} holds no {' or '.join(names)}: put one there")
    return found


@contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
    """Open a weight file; each tensor is read on access. Raises `DamagedWeights` if it holds no weights."""
    if path.suffix == _SAFE:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                yield TensorFile(_by_plain_name(file.keys()), file.get_tensor)
        except SafetensorError as error:
            raise DamagedWeights(f"{path} is damaged: {error}; fetch it again") from error
    else:
        tensors = _unpickle(path)
        yield TensorFile(_by_plain_name(tensors), tensors.__getitem__)


def _unpickle(path: Path) -> dict[str, Any]:
    import torch

    try:
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:  # the format before torch used zip archives cannot be mapped
            if "mmap" not in str(error):
                raise
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise DamagedWeights(
            f"{path} is refused: it holds more than tensors, so loading it could run code ({_first_line(error)}); "
            "use the weights as safetensors"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise DamagedWeights(f"{path} holds no readable weights ({_first_line(error)}); fetch it again") from error
    tensors = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(tensors, dict) or not tensors or not all(isinstance(key, str) for key in tensors):
        raise DamagedWeights(f"{path} holds no named tensors; use the weights as safetensors")
    return {name: tensor for name, tensor in tensors.items() if torch.is_tensor(tensor)}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:120] or type(error).__name__


def _by_plain_name(names: Any) -> dict[str, str]:
    return {name.removeprefix("module."): name for name in names}
