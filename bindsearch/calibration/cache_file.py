"""The calibration cache: a `Calibration` in one .npz file beside the indexes. It can always be fitted again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bindsearch.calibration.calibration import Calibration, QueryKindCalibration
from bindsearch.calibration.null_distribution import CalibrationOptions, NullDistribution
from bindsearch.core.files import replacing
from bindsearch.types import Modality

FILE_NAME = "calibration.npz"
READ_ERRORS = (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile)


def read_calibration(folder: Path, key: str, options: CalibrationOptions) -> Calibration | None:
    """Read the cached calibration; None if it is missing, damaged, or of another key."""
    with suppress(*READ_ERRORS), (folder / FILE_NAME).open("rb") as file, np.load(file) as arrays:
        if str(arrays["key"]) == key:
            return _unpacked(key, options, {name: arrays[name] for name in arrays.files})
    return None


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Cache a calibration if the folder is writable."""
    with (
        suppress(OSError),
        replacing(folder / FILE_NAME, shared=True) as draft,
        draft.open("wb") as out,
    ):
        np.savez(out, **_packed(calibration))


def _packed(calibration: Calibration) -> dict[str, Any]:
    """Return arrays: per kind of query, per modality, and per pair of both."""
    kinds, modalities = list(calibration.kinds), list(calibration.centroids)
    fitted = [calibration.kinds[kind] for kind in kinds]
    nulls = [[each.nulls[modality] for modality in modalities] for each in fitted]
    return {
        "key": calibration.key,
        "kinds": kinds,
        "modalities": modalities,
        "segments_per_item": [calibration.segments_per_item[modality] for modality in modalities],
        "centroids": [calibration.centroids[modality] for modality in modalities],
        "means": [each.mean for each in fitted],
        **{f"deviations-{kind}": each.deviations for kind, each in zip(kinds, fitted, strict=True)},
        **{f"whitener-{kind}": w for kind, each in zip(kinds, fitted, strict=True) if (w := each.whitener) is not None},
        "pairs": [[[null.location, null.scale, null.typical_spread] for null in row] for row in nulls],
        "scores": [[null.scores for null in row] for row in nulls],
        "log_rates": [[null.log_rates for null in row] for row in nulls],
    }


def _unpacked(key: str, options: CalibrationOptions, arrays: Mapping[str, NDArray[Any]]) -> Calibration:
    """Read what `_packed` returned. Raises `KeyError`, `ValueError`."""
    kinds, modalities = ([Modality(str(name)) for name in arrays[axis]] for axis in ("kinds", "modalities"))
    fitted = {kind: _unpacked_kind(row, kind, modalities, arrays) for row, kind in enumerate(kinds)}
    centroids = dict(zip(modalities, arrays["centroids"], strict=True))
    per_item = dict(zip(modalities, arrays["segments_per_item"].tolist(), strict=True))
    return Calibration(key, options, centroids, per_item, fitted)


def _unpacked_kind(
    row: int, kind: Modality, modalities: list[Modality], arrays: Mapping[str, NDArray[Any]]
) -> QueryKindCalibration:
    scores, log_rates, pairs = (arrays[name][row] for name in ("scores", "log_rates", "pairs"))
    nulls = {
        modality: NullDistribution(scores[place], log_rates[place], *pairs[place])
        for place, modality in enumerate(modalities)
    }
    return QueryKindCalibration(
        arrays["means"][row], nulls, arrays[f"deviations-{kind}"], arrays.get(f"whitener-{kind}")
    )
