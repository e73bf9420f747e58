"""What is wrong with a text that is not YAML, in words that help to correct it.

PyYAML's messages speak of tokens and node contents. The table translates them.
"""

import re
from dataclasses import dataclass

import yaml

from siftvton.key_values import shown

OTHERWISE = "this is not YAML; compare it with a file in configs/"


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        pattern: found in ``<context>: <problem>`` of PyYAML's error; ``found`` names a part that is shown.
        words: what is wrong and what to do; ``{found}`` stands for that part.
        at_start: give the place where the broken value begins, rather than that where PyYAML noticed it.
    """

    pattern: str
    words: str
    at_start: bool = False


FAULTS = (
    Fault(r"character '\\t' that cannot start", "a tab is not allowed here; use spaces"),
    Fault(
        r"character (?P<found>.+) that cannot start",
        "a value cannot begin with {found}; put the value between quotes",
    ),
    Fault(
        r"mapping values are not allowed",
        "a ':' is not allowed here; check the indentation and the line above, or put a value that contains ': ' "
        "between quotes",
    ),
    Fault(
        r"could not find expected ':'",
        "there is no ': ' after this name; write it as 'name: value', with a space",
        at_start=True,
    ),
    Fault(r"sequence entries are not allowed", "a list entry '- …' is not allowed here; begin it on a line of its own"),
    Fault(r"mapping keys are not allowed", "a '?' is not allowed here; put the value between quotes"),
    Fault(r"quoted scalar: found unexpected", "the quote that begins here is not closed; close it", at_start=True),
    Fault(
        r"double-quoted scalar:",
        "a '\\' between double quotes begins an escape, and this one does not exist; use single quotes",
    ),
    Fault(r"block scalar:", "after '|' or '>' the line must end; put the value between quotes", at_start=True),
    Fault(r"scanning an alias:", "a value that begins with '*' must be between quotes", at_start=True),
    Fault(r"scanning an anchor:", "a value that begins with '&' must be between quotes", at_start=True),
    Fault(r"\btag\b", "a value that begins with '!' must be between quotes", at_start=True),
    Fault(r"directive|incompatible YAML", "a line that begins with '%' is not supported; remove it", at_start=True),
    Fault(
        r"flow sequence:", "the list that begins here has no ']' or lacks a ','; write e.g. [512, 384]", at_start=True
    ),
    Fault(
        r"flow mapping:", "the section that begins here has no '}}' or lacks a ','; write e.g. {{a: 1}}", at_start=True
    ),
    Fault(
        r"node content, but found '<stream end>'",
        "the file ends inside a list or a section; close it with ']' or '}}'",
    ),
    Fault(r"node content, but found", "a value is missing here; put a value with special characters between quotes"),
    Fault(
        r"block end>, but found '(<scalar>|[],}]|<anchor>|<alias>|<tag>)'",
        "this follows a value that has ended; remove it, or put the whole value between quotes",
    ),
    Fault(
        r"block end>, but found '-'",
        "a list entry '- …' is not allowed here; indent it like the other entries of its list",
    ),
    Fault(
        r"block end>, but found", "the indentation fits none of the lines above; give all keys of a section the same"
    ),
    Fault(
        r"undefined alias '(?P<found>.+)'",
        "*{found} refers to nothing in this file; put a value that begins with '*' between quotes",
    ),
    Fault(r"duplicate anchor '(?P<found>.+)'", "&{found} is given twice; rename one"),
    Fault(r"another document", "a second document begins here; keep one"),
    Fault(r"document start", "this follows the end of the content; check indentation and brackets"),
)


def fault_of(error: yaml.YAMLError, text: str) -> str:
    """Return the place and the kind of a fault as ``line …, column …: …``.

    Args:
        error: PyYAML's.
        text: what it read.
    """
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        code = f"U+{ord(text[error.position]):04X}"
        return f"line {line}, column {column}: the character {code} is not allowed in YAML; remove it"
    assert isinstance(error, yaml.MarkedYAMLError), "PyYAML raises no other errors"
    said = f"{error.context}: {error.problem}"
    for fault in FAULTS:
        found = re.search(fault.pattern, said)
        if found:
            mark = error.context_mark if fault.at_start else error.problem_mark
            parts = {name: shown(part) for name, part in found.groupdict().items()}
            return at(mark or error.problem_mark, fault.words.format(**parts))
    return at(error.problem_mark, OTHERWISE)


def at(mark: yaml.Mark | None, words: str) -> str:
    """Put a place before the words, if it is known."""
    return f"line {mark.line + 1}, column {mark.column + 1}: {words}" if mark else words
