"""List the missing and wrong files of a data folder, and the commands that need them."""

from dataclasses import dataclass, field
from pathlib import Path

from siftvton.commands import Command
from siftvton.data.config import CheckedData
from siftvton.errors import InputError
from siftvton.options import MANY, option


@dataclass
class CheckData:
    """List the missing and wrong files of a data folder, and the commands that need them."""

    data: CheckedData = field(default_factory=CheckedData)
    preview: int = option(
        12, "number of pairs to draw, with mask, DensePose and matches over the photo; 0: none", minimum=0, maximum=MANY
    )
    output: str = option("outputs/check_data", "folder for the report and the previews", path=True)


def check_data(config: CheckData) -> str:
    """Inspect the data; write ``report.md`` and draw ``previews.png``.

    Returns:
        The report.

    Raises:
        InputError: the folder is missing; or, once every file has been checked, the data of a command are not ready.
        UsageError: the matches were measured in another frame.
    """
    from siftvton.data.layouts.base import MATCHES
    from siftvton.data.match_folder import require_frame
    from siftvton.data.previews import preview_sheet
    from siftvton.data.readiness import inspect_part, parts_of, readiness_report
    from siftvton.files import write_image, write_text
    from siftvton.settings import save_configuration
    from siftvton.wording import counted

    data, output = config.data, Path(config.output)
    root, frame = Path(data.root), data.frame
    layout = data.open()
    matches = Path(data.matches) if data.matches else layout.folder("train") / MATCHES
    require_frame(matches, frame)
    parts = parts_of(layout, data.split)
    for part in parts:
        inspect_part(part, layout, data.size, matches, frame)
    text, ready = readiness_report(root, parts)

    save_configuration(config, output / "check_data.yaml")
    write_text(output / "report.md", text)
    drawn = [(part, row) for part in parts for row in part.rows[:1] if row.pairs]
    if config.preview and drawn:
        part, row = drawn[0]
        listed = row.pairs[: config.preview]
        write_image(output / "previews.png", preview_sheet(layout.split(part.name), listed, matches, frame))
        text += f"\n{output / 'previews.png'} shows {counted(len(listed), 'pair')} of {part.name}\n"
    if not ready:
        print(text, end="")
        raise InputError(f"{root}: not ready for every command; {output / 'report.md'} says what to do")
    return text


COMMAND = Command(CheckData, check_data, "vitonhd.yaml")
