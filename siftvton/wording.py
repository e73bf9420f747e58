"""The words of messages and reports."""


def counted(number: int, one: str, several: str = "") -> str:
    """Return a number with its noun.

    Args:
        number: the number.
        one: the noun for one thing.
        several: the noun for any other number; empty: ``one`` with an "s".
    """
    return f"{number} {one if number == 1 else several or one + 's'}"
