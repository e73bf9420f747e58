"""The two mistakes a user can make; a script prints either as one line, without a traceback."""


class InputError(Exception):
    """A file or its content is not what it has to be; the message names it, what was found, what is allowed.

    Scripts exit with 1.
    """

    exit_code = 1


class UsageError(InputError):
    """A command line or a configuration is not what it has to be. Scripts exit with 2."""

    exit_code = 2
