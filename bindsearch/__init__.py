"""Find photos, sounds, videos and texts by meaning: any kind of query, any kind of result."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bindsearch.errors import BindsearchError as BindsearchError
    from bindsearch.ingest.report import Report as Report
    from bindsearch.library.library import Library as Library, open as open
    from bindsearch.query.language import Query as Query, concept as concept, file as file, text as text
    from bindsearch.query.request import SearchRequest as SearchRequest
    from bindsearch.results import Hit as Hit, Hits as Hits
    from bindsearch.spaces.space import Space as Space, space as space
    from bindsearch.storage.settings import Settings as Settings
    from bindsearch.types import Item as Item, Modality as Modality, Segment as Segment

_MODULES = {
    "errors": ["BindsearchError"],
    "ingest.report": ["Report"],
    "library.library": ["Library", "open"],
    "query.language": ["Query", "concept", "file", "text"],
    "query.request": ["SearchRequest"],
    "results": ["Hit", "Hits"],
    "spaces.space": ["Space", "space"],
    "storage.settings": ["Settings"],
    "types": ["Item", "Modality", "Segment"],
}
__all__ = sorted(name for names in _MODULES.values() for name in names)
__dir__ = __all__.copy


def __getattr__(name: str) -> Any:
    """Load a public name on its first use: `import bindsearch` itself loads nothing else."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"bindsearch.{module}"), name)
    raise AttributeError(f"module 'bindsearch' has no attribute {name!r}")
