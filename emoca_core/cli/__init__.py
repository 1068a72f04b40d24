"""The ``emoca`` command. Each subcommand is one module; nothing here imports torch or NumPy.

A command module has ``NAME``, ``HELP``, ``add_parser(subparsers)``, which returns the parser, and ``run(args)``, which
returns the exit code. Heavy imports belong inside ``run``.
"""

import argparse
import atexit
import gc
import importlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol, cast, runtime_checkable

from emoca_core.cli.terminal import (
    Terminated,
    discard_output,
    first_speaks,
    process_number,
    safe_streams,
    stoppable,
)
from emoca_core.errors import EmocaError, printable
from emoca_core.registry.catalogue import ENVIRONMENT_VARIABLE
from emoca_core.version import VERSION

COMMANDS = (
    "demo",
    "reconstruct",
    "retarget",
    "live",
    "optimise",
    "list",
    "show",
    "check",
    "assets",
    "doctor",
    "data",
    "train",
    "sweep",
    "package",
    "export",
    "encode",
    "benchmark",
    "index",
    "retrieve",
    "study",
    "new",
)
"""Modules of this package in the order of ``emoca --help``: adding a command adds a name."""

DESCRIPTION = "Emotion-driven 3D face capture from interchangeable parts."
_EPILOG = """\
exit code: 0 done, 1 some of the work could not be done, 2 bad input, 70 a fault of emoca, 130 stopped with Ctrl-C,
141 the reader of the output went away, 143 terminated. docs/outputs.md says more.
"""

DONE = 0
SOME_FAILED = 1
BAD_INPUT = 2
FAULT = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
BROKEN_PIPE = 141  # 128 + SIGPIPE
TERMINATED = 143  # 128 + SIGTERM
EXIT_CODES = (DONE, SOME_FAILED, BAD_INPUT, FAULT, INTERRUPTED, BROKEN_PIPE, TERMINATED)
"""All that the command can end with; docs/outputs.md says what they mean."""

_RARELY = 5_000
"""Objects between two walks of Python's cycle collector, in a process of our own."""
_READABLE = 3000
"""Characters of a message."""


@runtime_checkable
class Subparsers(Protocol):
    """What ``add_subparsers`` returns: argparse keeps its own type private."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """Add the parser of a command."""


class Command(Protocol):
    """What a command module provides."""

    NAME: str
    HELP: str

    def add_parser(self, subparsers: Subparsers) -> argparse.ArgumentParser:
        """Add the command's parser with its arguments, and return it."""

    def run(self, args: argparse.Namespace) -> int:
        """Do the work; the exit code."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {_short(printable(message))} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; ``sys.argv`` by default.

    Returns:
        One of ``EXIT_CODES``.
    """
    if argv is None:
        _collect_rarely()
    given = sys.argv[1:] if argv is None else argv
    with safe_streams(), stoppable():
        try:
            with first_speaks():
                return _run(given)
        except BrokenPipeError:
            discard_output()
            return BROKEN_PIPE
        except KeyboardInterrupt as stop:
            print("emoca: stopped", file=sys.stderr)
            return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
        except BaseException as error:  # a plugin may end the program, a library written in Rust may panic
            if "--debug" in given:
                traceback.print_exc()
            sibling = f" (process {process_number()})" if process_number() else ""
            print(f"emoca{sibling}: {_short(_explain(error))}", file=sys.stderr)
            return BAD_INPUT if _is_expected(error) else FAULT


def _run(given: Sequence[str]) -> int:
    if any(not word or "\0" in word for word in given):
        raise EmocaError("an argument is empty, or holds a NUL character: has a variable of the shell no value?")
    try:
        # the modules of other commands need not be imported
        args = build_parser([name for name in COMMANDS if name in given] or COMMANDS).parse_args(given)
    except SystemExit as stop:  # --help, --version and errors
        code = stop.code if isinstance(stop.code, int) else DONE
    else:
        with _user_catalogue(args.catalogue):
            code = args.run(args)
    sys.stdout.flush()  # here, so that a closed pipe is noticed while it can be handled
    return code


def _collect_rarely() -> None:
    """Let Python's cycle collector leave the libraries alone: it walks them while they load, and three times at exit.

    Half a second of torch and MediaPipe. Only for a process of our own: what is frozen is never collected.
    """
    gc.set_threshold(_RARELY)
    atexit.register(gc.freeze)


@contextmanager
def loading() -> Iterator[None]:
    """Nothing that is loaded in this block is ever walked: a fifth of a second more."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        if gc.get_threshold()[0] == _RARELY:
            gc.freeze()


def build_parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of the command line, with all its commands or with some."""
    parser = _Parser(
        prog="emoca",
        description=DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"emoca-core {VERSION}")
    parser.set_defaults(catalogue=None, debug=False)
    _add_common_arguments(parser)  # before there are subparsers, which get them one by one
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in commands:
        command = cast(Command, importlib.import_module(f"emoca_core.cli.{name}"))
        subparser = command.add_parser(subparsers)
        _add_common_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Accepted before and after the command and its subcommand; the default is set once, on the main parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                _add_common_arguments(subparser)
    keep = argparse.SUPPRESS
    parser.add_argument(
        "--catalogue", metavar="FILE", default=keep, help="your own registry.yaml, merged on top (or EMOCA_CATALOGUE)"
    )
    parser.add_argument("--registry", dest="catalogue", default=keep, help=argparse.SUPPRESS)  # the word until 0.1
    parser.add_argument("--debug", action="store_true", default=keep, help="show the traceback of an error")


@contextmanager
def _user_catalogue(file: str | None) -> Iterator[None]:
    """Let everything that reads the catalogue, however deep, see the file that ``--catalogue`` names."""
    before = os.environ.get(ENVIRONMENT_VARIABLE)
    if file is not None:
        os.environ[ENVIRONMENT_VARIABLE] = file
    try:
        yield
    finally:
        if file is not None:
            os.environ.pop(ENVIRONMENT_VARIABLE)
            if before is not None:
                os.environ[ENVIRONMENT_VARIABLE] = before


def _short(message: str) -> str:
    """A message that somebody can read, whatever names it repeats."""
    return message if len(message) <= _READABLE else f"{message[:_READABLE]}..."


def _is_expected(error: BaseException) -> bool:
    """Whether the user can do something about it."""
    return isinstance(error, EmocaError | OSError) or _is_out_of_memory(error)


def _is_out_of_memory(error: BaseException) -> bool:
    """Python, and torch, which has no class of its own for the CPU."""
    said = str(error) if isinstance(error, RuntimeError) else ""
    return isinstance(error, MemoryError) or "allocate memory" in said or "out of memory" in said


def _explain(error: BaseException) -> str:
    if _is_out_of_memory(error):
        return "out of memory"
    if isinstance(error, EmocaError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    said = (str(error).strip().splitlines() or ["no reason given"])[0]
    return f"this is a fault of emoca: {type(error).__name__}: {printable(said)}; --debug shows where"
