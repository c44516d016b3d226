"""The one tree of errors.

Every error that bindsearch raises on purpose is a `BindsearchError`; its message says what happened, to which
file, and what to do next. Errors of other libraries are mapped where they arise and stay chained.

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
    """The root: catch it to catch everything that bindsearch raises on purpose."""


class MediaError(BindsearchError):
    """A file cannot be turned into segments."""


class UnreadableMedia(MediaError):
    """The file is damaged, truncated or empty, or contradicts its own name."""


class UnsupportedMedia(MediaError):
    """The file is none of the kinds that bindsearch reads."""


class MediaTooLarge(MediaError):
    """Decoding the file would take more memory than the limits allow."""


class SpaceError(BindsearchError):
    """A space cannot be used."""


class UnknownSpace(SpaceError):
    """No space has this name."""


class SpaceMismatch(SpaceError):
    """The library's vectors were made by another space than the one at hand."""


class OutOfMemory(SpaceError):
    """There was not enough memory for a single piece: with more of it the same file may do."""


class UnusableSpace(SpaceError):
    """A space can take nothing at all, whatever it is given: what is under way stops, and no file is to blame."""


class MissingWeights(UnusableSpace):
    """The weights of a space are not on this machine."""


class DamagedWeights(UnusableSpace):
    """The weights are not what was published, or are no weights at all."""


class MissingExtra(UnusableSpace):
    """A package that this space or index needs is not installed."""


class LicenceRefused(UnusableSpace):
    """The licence of the weights does not allow the use that was asked for."""


class LibraryError(BindsearchError):
    """A library cannot be opened, read or written."""


class LibraryNotFound(LibraryError):
    """There is no library at this path."""


class LibraryBusy(LibraryError):
    """Another process is writing to the library."""


class LibraryFull(LibraryError):
    """The disk that holds the library has no room left."""


class CorruptLibrary(LibraryError):
    """The library's files contradict each other or cannot be read."""


class SchemaTooNew(LibraryError):
    """A newer bindsearch wrote this library."""


class QueryError(BindsearchError):
    """A query cannot be understood."""


class BadQuery(QueryError):
    """The words of the query do not make one."""


class EmptyQuery(QueryError):
    """The query asks for nothing, or its operands cancel out."""


class IndexingError(BindsearchError):
    """An index cannot be made or used."""


class UnknownIndex(IndexingError):
    """No index has this name."""


class IndexUnavailable(IndexingError):
    """The index cannot run on this machine."""
