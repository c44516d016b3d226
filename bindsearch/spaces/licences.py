"""Licences of weights: what they allow, and which ones were accepted on this machine."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

from bindsearch.core.paths import weights_folder
from bindsearch.errors import LicenceRefused
from bindsearch.spaces.catalogue import SpaceWeights


def require_commercial(weights: SpaceWeights) -> None:
    """Raise `LicenceRefused` unless the licence is known to allow commercial use."""
    if not weights.commercial:
        raise LicenceRefused(
            f"{weights.space} is refused because --commercial was given: {weights.licence_summary}. {weights.terms}"
        )


def is_accepted(weights: SpaceWeights) -> bool:
    """Whether this licence was accepted before on this machine."""
    return bool(_accepted_licences().get(weights.space) == weights.licence)


def record_acceptance(weights: SpaceWeights) -> None:
    """Record that the licence was accepted today."""
    acceptances = _read_acceptances() | {
        weights.space: {"licence": weights.licence, "accepted": date.today().isoformat()}
    }
    weights_folder().mkdir(parents=True, exist_ok=True)
    _acceptances_file().write_text(json.dumps(acceptances, indent=1) + "\n", encoding="utf-8")


def _accepted_licences() -> dict[str, str]:
    return {space: str(each.get("licence")) for space, each in _read_acceptances().items() if isinstance(each, dict)}


def _read_acceptances() -> dict[str, Any]:
    try:
        acceptances = json.loads(_acceptances_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):  # nothing accepted yet, or the file is damaged: ask again
        return {}
    return acceptances if isinstance(acceptances, dict) else {}


def _acceptances_file() -> Path:
    return weights_folder() / "licences.json"
