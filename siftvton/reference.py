"""The configuration reference: a page in Markdown with the keys of every command, made from the schemas."""

from dataclasses import MISSING

from siftvton.commands import NAMES, command
from siftvton.options import allowed_values, as_typed, keys
from siftvton.tables import markdown_table

INTRODUCTION = """# Configuration reference

Each command takes `--config FILE` and `key=value`. If a key holds a dictionary, give its entries one by one, e.g.
`predictions.ours=outputs/infer`. `null` means no value. [Commands](commands.md) says what each command is for.
`make reference` writes this page; do not edit it."""


def page() -> str:
    """The text of the page: one section for each command, one row for each key."""
    sections = [INTRODUCTION, " · ".join(f"[{name}](#{name})" for name in NAMES)]
    for name in NAMES:
        chosen = command(name)
        rows = []
        for key, entry in keys(chosen.schema).items():
            default = entry.default if entry.default_factory is MISSING else entry.default_factory()
            cells = (f"`{key}`", f"`{as_typed(default)}`", entry.metadata["help"], allowed_values(entry))
            rows.append([cell.replace("|", "\\|") for cell in cells])
        title = (chosen.schema.__doc__ or "").splitlines()[0]
        table = markdown_table(["key", "default", "meaning", "allowed values"], rows, text_columns=4)
        sections.append(
            "\n".join([f"## {name}", "", title, f"Reads `configs/{chosen.default}` unless told otherwise.", "", *table])
        )
    return "\n\n".join(sections) + "\n"


if __name__ == "__main__":
    print(page(), end="")
