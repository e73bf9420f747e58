"""What ends a script with one line instead of a traceback."""


class InputError(Exception):
    """A file or its content is not what it has to be; the message names it, what was found, what is allowed.

    Scripts exit with 1.
    """

    exit_code = 1


class UsageError(InputError):
    """A command line or a configuration is not what it has to be. Scripts exit with 2."""

    exit_code = 2


class DivergedError(InputError):
    """Training met a loss or a gradient that is NaN or infinite. Scripts exit with 1."""


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
