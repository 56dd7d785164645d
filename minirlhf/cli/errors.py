"""What a user got wrong becomes one line on stderr and exit code 2; Ctrl-C becomes exit code 130.

Of several processes, the first to see an error says it; the others end with the same exit code.

Our code raises ValueError for bad input and lets OSError pass for what the system refuses. Any
other exception is a mistake of ours and shows its traceback, as all do with `--traceback` before
the command's name, or with MINIRLHF_TRACEBACK=1.
"""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import typer
from safetensors import SafetensorError
from typer.core import TyperGroup

from minirlhf import processes

USER_ERROR, INTERRUPTED = 2, 130


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with a sentence about how to go on."""


class OneLineErrors(TyperGroup):
    """A group of commands whose errors are one line."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with one_line_errors(traceback=bool(ctx.params.get("traceback"))):
            return super().invoke(ctx)


@contextlib.contextmanager
def one_line_errors(*, traceback: bool = False) -> Iterator[None]:
    """Turn the errors that a user can cause into one line, and our warnings too.

    Args:
        traceback: let them through as they are.
    """
    if traceback:
        yield
        return
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    except KeyboardInterrupt as error:
        if processes.launched_rank() == 0:
            _say(f"Interrupted. {error}".rstrip())
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        raise  # the reader of our output has gone; typer ends quietly
    except (ValueError, OSError, SafetensorError) as error:
        _say_once(f"Error: {describe(error)}")
        raise typer.Exit(USER_ERROR) from None
    except (RuntimeError, MemoryError) as error:
        if processes.lost(error):
            _say_once("Error: another process of this run has ended, and all end with it")
        elif _is_out_of_memory(error):
            _say_once("Error: out of memory; try a smaller model, batch or --microbatch-size")
        else:
            raise
        raise typer.Exit(USER_ERROR) from None


def describe(error: Exception) -> str:
    """One line that says what went wrong, and with which file."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return where + error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _is_out_of_memory(error: Exception) -> bool:
    signs = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)


def _say_once(line: str) -> None:
    """An error that all processes will end with is said by the first that meets it."""
    if processes.speaks():
        _say(line)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """One line for a warning, without the place in the code that it came from."""
    if processes.launched_rank() == 0:
        _say(f"Warning: {' '.join(str(message).split())}")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
