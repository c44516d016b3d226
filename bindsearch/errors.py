"""The error hierarchy.

Every error that bindsearch raises on purpose is a `BindsearchError`. Its message says what happened, to which file,
and what to do next. Errors of other libraries are mapped where they arise, and chained.

    BindsearchError
    ├── MediaError: UnreadableMedia, UnsupportedMedia, MediaTooLarge
    ├── SpaceError: UnknownSpace, SpaceMismatch, OutOfMemory
    │   └── UnusableSpace: MissingWeights, DamagedWeights, MissingExtra, LicenceRefused
    ├── LibraryError: LibraryNotFound, LibraryBusy, LibraryFull, CorruptLibrary, SchemaTooNew
    ├── QueryError: BadQuery, EmptyQuery
    └── IndexingError: UnknownIndex, IndexUnavailable
"""

from __future__ import annotations


class BindsearchError(Exception):
    """The base class of all errors that bindsearch raises on purpose."""


class MediaError(BindsearchError):
    """A file cannot be turned into segments."""


class UnreadableMedia(MediaError):
    """The file is damaged, truncated or empty, or its content contradicts its name."""


class UnsupportedMedia(MediaError):
    """The file has a format that bindsearch does not read."""


class MediaTooLarge(MediaError):
    """Decoding the file would take more memory than the limits allow."""


class SpaceError(BindsearchError):
    """A space cannot be used."""


class UnknownSpace(SpaceError):
    """No space has this name."""


class SpaceMismatch(SpaceError):
    """The vectors of the library belong to another space."""


class OutOfMemory(SpaceError):
    """There was not enough memory for even a single piece; with more memory the same file may be encoded."""


class UnusableSpace(SpaceError):
    """The space cannot be used at all: the run stops, and no file is quarantined."""


class MissingWeights(UnusableSpace):
    """The weights of the space are not on this machine."""


class DamagedWeights(UnusableSpace):
    """The weights differ from the published ones, or are not weights."""


class MissingExtra(UnusableSpace):
    """A package that the space or index needs is not installed."""


class LicenceRefused(UnusableSpace):
    """The licence of the weights does not allow the intended use."""


class LibraryError(BindsearchError):
    """A library cannot be opened, read or written."""


class LibraryNotFound(LibraryError):
    """There is no library at this path."""


class LibraryBusy(LibraryError):
    """Another process is writing to the library."""


class LibraryFull(LibraryError):
    """The disk that holds the library is full."""


class CorruptLibrary(LibraryError):
    """The library's files contradict each other or cannot be read."""


class SchemaTooNew(LibraryError):
    """A newer bindsearch wrote this library."""


class QueryError(BindsearchError):
    """A query cannot be understood."""


class BadQuery(QueryError):
    """The query, or another argument, is invalid."""


class EmptyQuery(QueryError):
    """The query has no operands, or its operands cancel out."""


class IndexingError(BindsearchError):
    """An index cannot be built or used."""


class UnknownIndex(IndexingError):
    """No index has this name."""


class IndexUnavailable(IndexingError):
    """The index cannot run on this machine."""
