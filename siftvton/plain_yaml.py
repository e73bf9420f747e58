"""YAML of plain values: text, null, lists and sections. Each text is later interpreted by its key's type.

So ``00006_00`` is not read as an octal number, ``no`` not as false and ``2024-99-99`` not as an invalid date. No tag
can build an object.
"""

from typing import Any

import yaml

from siftvton.key_values import shown
from siftvton.yaml_faults import at, fault_of

DEEPEST = 20  # levels of sections and lists
MOST_VALUES = 10_000  # an alias counts each time it is used
NULLS = ("", "~", "null", "Null", "NULL")  # texts that mean null when they are not quoted


class PlainYamlError(ValueError):
    """A text is not YAML of plain values; the message gives line, column and what is wrong."""


def parse(text: str) -> Any:
    """Return the content of a YAML text: str, None, and lists and dictionaries of them.

    Raises:
        PlainYamlError: the text is not YAML, has a tag, gives a key twice, or is too deep or too large.
    """
    try:
        _check_depth(text)
        node = yaml.compose(text, yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise PlainYamlError(fault_of(error, text)) from error
    except PlainYamlError:
        raise
    except (ValueError, OverflowError) as error:  # PyYAML converts the number of an escape or of a version
        raise PlainYamlError(
            "an escape such as '\\U…' or a '%YAML' line has a number that is too large; remove it"
        ) from error
    return None if node is None else _Values().of(node)


def _error(mark: yaml.Mark | None, words: str) -> PlainYamlError:
    return PlainYamlError(at(mark, words))


def _check_depth(text: str) -> None:
    """Count the levels in the stream of events, since the composer recurses for each level."""
    depth = 0
    for event in yaml.parse(text, yaml.BaseLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _error(event.start_mark, f"more than {DEEPEST} levels of lists and sections; use fewer")


class _Values:
    """Converts a tree of nodes to values and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def of(self, node: yaml.Node, depth: int = 0) -> Any:
        self.count += 1
        if depth > DEEPEST:  # an alias that contains itself
            raise _error(node.start_mark, f"an alias gives more than {DEEPEST} levels of lists and sections; remove it")
        if self.count > MOST_VALUES:
            raise _error(node.start_mark, f"more than {MOST_VALUES:,} values; use fewer")
        if isinstance(node, yaml.SequenceNode) and node.tag == yaml.resolver.BaseResolver.DEFAULT_SEQUENCE_TAG:
            return [self.of(each, depth + 1) for each in node.value]
        if isinstance(node, yaml.MappingNode) and node.tag == yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG:
            return self._section(node, depth)
        if isinstance(node, yaml.ScalarNode) and node.tag == yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG:
            return None if node.style is None and node.value in NULLS else node.value
        tag = shown(node.tag.replace("tag:yaml.org,2002:", "!!"))
        raise _error(node.start_mark, f"the tag {tag} is not supported; write the value without a tag")

    def _section(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        section: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _error(key.start_mark, "a list or a section cannot be a key; use a name")
            if key.value in section:
                raise _error(key.start_mark, f"{shown(key.value)} is given twice; keep one")
            section[key.value] = self.of(value, depth + 1)
        return section
