"""Find photos, sounds, videos and texts by meaning: any kind of query, any kind of result."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bindsearch.errors import BindsearchError as BindsearchError
    from bindsearch.ingest.report import Report as Report
    from bindsearch.library.library import Library as Library, open as open
    from bindsearch.query.language import Query as Query, concept as concept, file as file, text as text
    from bindsearch.results import Hit as Hit, Hits as Hits
    from bindsearch.spaces.space import Space as Space, space as space
    from bindsearch.types import Item as Item, Modality as Modality, Segment as Segment

_MODULES = {
    "errors": ["BindsearchError"],
    "ingest.report": ["Report"],
    "library.library": ["Library", "open"],
    "query.language": ["Query", "concept", "file", "text"],
    "results": ["Hit", "Hits"],
    "spaces.space": ["Space", "space"],
    "types": ["Item", "Modality", "Segment"],
}
__all__ = sorted(name for names in _MODULES.values() for name in names)


def __getattr__(name: str) -> Any:
    """Load a public name on its first use: `import bindsearch` itself loads nothing else."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"bindsearch.{module}"), name)
    raise AttributeError(f"module 'bindsearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
