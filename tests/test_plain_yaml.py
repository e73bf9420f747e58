"""Faults in YAML are named with their place, in our words."""

import pytest

from siftvton.plain_yaml import PlainYamlError, parse
from siftvton.yaml_faults import OTHERWISE

FAULTS = [
    ('a: "\\UFFFFFFFF"', "an escape such as '\\U…' or a '%YAML' line has a number that is too large"),
    (
        "%YAML 1." + "9" * 5000 + "\n---\na: 1",
        "an escape such as '\\U…' or a '%YAML' line has a number that is too large",
    ),
    ("a: 1\nb:2\n", "line 2, column 1: there is no ': ' after this name"),
    ("a: [1,", "line 1, column 7: the file ends inside a list or a section; close it with ']' or '}'"),
    ("train:\n\tseed: 4", "line 2, column 1: a tab is not allowed here; use spaces"),
    ("a: @x", "line 1, column 4: a value cannot begin with '@'; put the value between quotes"),
    ("a: C: x", "line 1, column 5: a ':' is not allowed here; check the indentation and the line above"),
    ("a:\n  b: 1\n   c: 1", "line 3, column 5: a ':' is not allowed here; check the indentation"),
    ("a:\n    b: 1\n  c: 1", "line 3, column 3: the indentation fits none of the lines above"),
    ("a: 1\noutput\n", "line 2, column 1: there is no ': ' after this name; write it as 'name: value', with a space"),
    ("a: - 1", "line 1, column 4: a list entry '- …' is not allowed here; begin it on a line of its own"),
    ("a: 1\n- b", "line 2, column 1: a list entry '- …' is not allowed here; indent it like the other"),
    ("? [a]: ? b", "line 1, column 8: a '?' is not allowed here"),
    ('a: "x\nb: 2\n', "line 1, column 4: the quote that begins here is not closed"),
    ("a: 'x\n---\n", "line 1, column 4: the quote that begins here is not closed"),
    (r'a: "C:\data"', "line 1, column 8: a '\\' between double quotes begins an escape"),
    (r'a: "\u12"', "line 1, column 7: a '\\' between double quotes begins an escape"),
    ("a: |x", "line 1, column 4: after '|' or '>' the line must end; put the value between quotes"),
    ("a: *.png", "line 1, column 4: a value that begins with '*' must be between quotes"),
    ("a: *png", "line 1, column 4: *png refers to nothing in this file"),
    ("a: &", "line 1, column 4: a value that begins with '&' must be between quotes"),
    ("a: &x 1\nb: &x 2", "line 2, column 4: &x is given twice; rename one"),
    ("a: !<x", "line 1, column 4: a value that begins with '!' must be between quotes"),
    ("a: !z!y 1", "line 1, column 4: a value that begins with '!' must be between quotes"),
    ("a: !!int 1", "line 1, column 4: the tag !!int is not supported; write the value without a tag"),
    ("a: 1\n%b: 2", "line 2, column 1: a line that begins with '%' is not supported; remove it"),
    ("%YAML 2.0\n---\na: 1", "line 1, column 1: a line that begins with '%' is not supported; remove it"),
    ("a: [512, 384\nb:\n  c: 1", "line 1, column 4: the list that begins here has no ']' or lacks a ','"),
    ("a: {b: 1 c: 2}", "line 1, column 4: the section that begins here has no '}' or lacks a ','; write e.g. {a: 1}"),
    ("a: ]", "line 1, column 4: a value is missing here"),
    ('a: "x" y', "line 1, column 8: this follows a value that has ended"),
    ("a: [1], b", "line 1, column 7: this follows a value that has ended"),
    ("a: 1\n---\nb: 2", "line 2, column 1: a second document begins here; keep one"),
    ("[a]\nb: 1", "line 2, column 1: this follows the end of the content"),
    ("a: 1\nb: \0", "line 2, column 4: the character U+0000 is not allowed in YAML; remove it"),
    ("a: 1\na: 2", "line 2, column 1: a is given twice; keep one"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_a_fault_is_named_with_its_place_and_a_remedy(text: str, message: str):
    with pytest.raises(PlainYamlError) as caught:
        parse(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_every_fault_has_words_of_its_own():
    """Cut a file everywhere, and put every sign at every place."""
    whole = "a: \"b c\"\nd:\n  - {e: 1, f: [2, 3]}\n  - 'g'\n"
    broken = [whole[:end] for end in range(len(whole))]
    broken += [
        whole[:place] + sign + whole[place:] for place in range(len(whole)) for sign in "[]{}:,-?&*!|>%@`'\"\\\t#\n "
    ]
    messages = set()
    for text in broken:
        try:
            parse(text)
        except PlainYamlError as error:
            messages.add(str(error).partition(": ")[2])
    assert len(messages) > 15
    assert OTHERWISE not in messages


def test_long_names_are_cut():
    with pytest.raises(PlainYamlError) as caught:
        parse(f"{'a' * 5000}: 1\n{'a' * 5000}: 2")
    assert len(str(caught.value)) < 200
