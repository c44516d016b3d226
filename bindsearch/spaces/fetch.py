"""Download the weight files that a space needs, once the licence is accepted.

Files that are already on this machine, including those that were put there by hand, are not downloaded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from bindsearch.errors import DamagedWeights, LicenceRefused, MissingExtra, MissingWeights
from bindsearch.spaces.catalogue import SpaceWeights, WeightFile, suggest_spaces
from bindsearch.spaces.download import ProgressCallback, check, download
from bindsearch.spaces.licences import is_accepted, record_acceptance, require_commercial
from bindsearch.spaces.locate import display_path, is_offline, locate, missing_weights


def fetch_weights(
    weights: SpaceWeights,
    *,
    accept: Callable[[SpaceWeights], bool],
    commercial: bool = False,
    offline: bool = False,
    on_progress: Callable[[WeightFile], ProgressCallback],
) -> Iterator[tuple[WeightFile, Path]]:
    """Download the missing files of a space; yield each file with its path as soon as it is available.

    `accept` is called before the first download of a space, unless its licence was accepted before.
    Raises `LicenceRefused`, `MissingWeights`, `DamagedWeights`, `MissingExtra`.
    """
    if commercial:
        require_commercial(weights)
    for file in weights.files:
        path = locate(weights, file)
        if path is None:
            if offline or is_offline():
                if file.optional:
                    continue
                raise missing_weights(weights, file, why=", and network access is off")
            _accept_once(weights, accept)
            path = _fetch_file(weights, file, on_progress(file))
            if path is None:
                continue
        else:
            _check_existing(path, file)
        yield file, path


def _check_existing(path: Path, file: WeightFile) -> None:
    if path.name == file.name:
        check(path, size=file.size, sha256=file.sha256)


def _accept_once(weights: SpaceWeights, accept: Callable[[SpaceWeights], bool]) -> None:
    if is_accepted(weights):
        return
    if not accept(weights):
        raise LicenceRefused(
            f"{weights.space} was not fetched because its licence ({weights.licence}) was not accepted; "
            "--accept-licence accepts it without asking"
        )
    record_acceptance(weights)


def _fetch_file(weights: SpaceWeights, file: WeightFile, on_progress: ProgressCallback) -> Path | None:
    """Download a file. Return its path, or None if it is optional and the hub does not have it."""
    if file.address:
        return download(
            file.address, weights.folder / file.name, size=file.size, sha256=file.sha256, on_progress=on_progress
        )
    try:
        hub = import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"fetching {file.name} needs the package {error.name!r}: pip install 'bindsearch[models]', or "
            f"put the file at {display_path(weights.folder / file.name)}; it comes from {file.origin}"
        ) from error
    try:
        path = Path(hub.hf_hub_download(file.repository, file.name))
    except Exception as error:  # the hub's client raises its own errors and those of its HTTP library
        if type(error).__name__ == "RemoteEntryNotFoundError" and (file.alternative or file.optional):
            other = replace(file, name=file.alternative, alternative="")
            return _fetch_file(weights, other, on_progress) if file.alternative else None
        raise MissingWeights(_describe_hub_error(file, error)) from error
    _check_hub_file(path, file)
    return path


def _describe_hub_error(file: WeightFile, error: Exception) -> str:
    kind = type(error).__name__
    if kind == "GatedRepoError":
        return f"{file.origin} is gated: request access on that page, then run `hf auth login`"
    if kind in {"RepositoryNotFoundError", "RemoteEntryNotFoundError"}:
        return f"the hub has no {file.name} of {file.repository!r}{suggest_spaces('clap:' + file.repository)}"
    if kind == "LocalEntryNotFoundError":
        return f"{file.origin} cannot be fetched: the hub cannot be reached"
    words = next((line.strip() for line in str(error).splitlines() if line.strip()), kind)
    return f"{file.origin} cannot be fetched: {words}; the part that arrived is kept: run the command again to continue"


def _check_hub_file(path: Path, file: WeightFile) -> None:
    """Check a file in the hub's cache, which names large files by their SHA-256."""
    kept = path.resolve()
    known = kept.name if len(kept.name) == 64 else None
    try:
        check(path, size=file.size, sha256=file.sha256 or known, called=file.origin)
    except DamagedWeights:
        for each in (path, kept):
            with contextlib.suppress(OSError):
                each.unlink()
        raise
