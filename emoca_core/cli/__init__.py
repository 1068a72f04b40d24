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
from typing import Any, NoReturn, Protocol, cast

import emoca_core
from emoca_core.errors import EmocaError
from emoca_core.registry.catalogue import ENVIRONMENT_VARIABLE

COMMANDS = (
    "demo",
    "reconstruct",
    "list",
    "show",
    "check",
    "assets",
    "doctor",
    "data",
    "train",
    "sweep",
    "package",
    "benchmark",
    "new",
)
"""Modules of this package in the order of ``emoca --help``: adding a command adds a name."""

DESCRIPTION = "Emotion-driven 3D face capture from interchangeable parts."

BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
BROKEN_PIPE = 141  # 128 + SIGPIPE

Subparsers = Any  # argparse keeps the type of add_subparsers() private


class Command(Protocol):
    """What a command module provides."""

    NAME: str
    HELP: str

    def add_parser(self, subparsers: Subparsers) -> argparse.ArgumentParser:
        """Declare the arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do the work; the exit code."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; ``sys.argv`` by default.

    Returns:
        0 on success, 2 for bad input, 130 after Ctrl-C, 141 when the reader of a pipe went away.
    """
    if argv is None:
        _collect_rarely()
    given = sys.argv[1:] if argv is None else argv
    try:
        # the modules of other commands need not be imported
        args = build_parser([name for name in COMMANDS if name in given] or COMMANDS).parse_args(given)
        with _user_registry(args.registry):
            code = cast(int, args.run(args))
        sys.stdout.flush()  # here, so that a closed pipe is noticed while it can be handled
        return code
    except SystemExit as stop:  # argparse: --help, --version and errors
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        print("emoca: stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at exit
        return BROKEN_PIPE
    except (EmocaError, OSError, MemoryError) as error:
        if "--debug" in given:
            traceback.print_exc()
        print(f"emoca: {_explain(error)}", file=sys.stderr)
        return BAD_INPUT


def _collect_rarely() -> None:
    """Let Python's cycle collector leave the libraries alone: it walks them while they load, and three times at exit.

    Half a second of torch and MediaPipe. Only for a process of our own: what is frozen is never collected.
    """
    gc.set_threshold(5_000)
    atexit.register(gc.freeze)


def build_parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of the command line, with all its commands or with some."""
    parser = _Parser(prog="emoca", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"emoca-core {emoca_core.__version__}")
    parser.set_defaults(registry=None, debug=False)
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
        "--registry", metavar="FILE", default=keep, help="your own registry.yaml, merged on top (or EMOCA_REGISTRY)"
    )
    parser.add_argument("--debug", action="store_true", default=keep, help="show the traceback of an error")


@contextmanager
def _user_registry(file: str | None) -> Iterator[None]:
    """Let everything that reads the catalogue, however deep, see the file that ``--registry`` names."""
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


def _explain(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError) and not isinstance(error, EmocaError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
