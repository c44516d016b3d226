"""Turn any error into one clear line on stderr and an exit status, never a traceback."""

from __future__ import annotations

import argparse
import os
import sys

from bindsearch.cli.screen import complain, escaped
from bindsearch.errors import BindsearchError, QueryError, UnknownIndex, UnknownSpace

WRONG_ARGUMENTS = (QueryError, UnknownSpace, UnknownIndex, FileNotFoundError)
DONE, FAILED, MISUSED, PARTLY = 0, 1, 2, 3
BY_SIGNAL = 128
"""Added to a signal number, the exit status of a process that the signal ended."""
INTERRUPTED, PIPE_CLOSED = BY_SIGNAL + 2, BY_SIGNAL + 13


def guarded(arguments: argparse.Namespace) -> int:
    """Run a verb and return its exit status, whatever happens."""
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _discard_stdout()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        complain("stopped")
        return INTERRUPTED
    except Exception as error:
        if arguments.traceback:
            import traceback

            traceback.print_exc()
        complain(_message(error))
        return MISUSED if isinstance(error, WRONG_ARGUMENTS) else FAILED


def _message(error: Exception) -> str:
    match error:
        case BindsearchError():  # the message of a query error has several lines
            return "\n".join(map(escaped, str(error).split("\n")))
        case MemoryError():
            return "there is not enough memory for this"
        case OSError():
            where = f"{escaped(os.fsdecode(error.filename))}: " if isinstance(error.filename, str | bytes) else ""
            return f"{where}{error.strerror or error}"
    kind = type(error).__name__
    return f"{kind}: {error}\nthis is a bug in bindsearch: run again with --traceback and report it"


def _discard_stdout() -> None:
    """Redirect stdout to null, since the interpreter flushes its buffer on exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
