"""The command lines of the benchmarks: the help text is the benchmark's docstring."""

import argparse
from collections.abc import Callable

from siftvton.errors import InputError


def parser_of(docstring: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help text is a docstring as it stands."""
    return argparse.ArgumentParser(description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)


def count(text: str) -> int:
    """Read a whole number of 1 or more; a ``type`` for arguments.

    Raises:
        ArgumentTypeError: the text is no such number.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; use a whole number of 1 or more")
    return int(text)


def start(main: Callable[..., object], parser: argparse.ArgumentParser) -> None:
    """Call ``main`` with the arguments of the command line, by name; wrong data end the program with one line."""
    try:
        main(**vars(parser.parse_args()))
    except InputError as error:
        parser.error(str(error))
