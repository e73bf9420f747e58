"""Find the matches between each photo and the picture of its garment (paper §3.1)."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from siftvton.commands import Command
from siftvton.data.config import SiftData
from siftvton.errors import InputError, UsageError
from siftvton.options import MANY, WORKERS, option


@dataclass
class PreprocessSift:
    """Find the matches between each photo and the picture of its garment (paper §3.1)."""

    data: SiftData = field(default_factory=SiftData)
    output: str | None = option(
        None, "folder for the match files; null: <root>/<split's folder>/sift_matching", path=True
    )
    matcher: str = option(
        "sift",
        "method that finds the matches, before any filter; sift: as published; asift: SIFT on several views of both "
        "pictures, slower, with more matches; lightglue: networks, whose weights matcher_weights names",
        choices=("sift", "asift", "lightglue"),
    )
    matcher_weights: str | None = option(
        None,
        "weights of matcher=lightglue: a folder, or a repository owner/name@commit on the Hugging Face hub; null: none",
        path=True,
    )
    preset: str = option(
        "published",
        "filters to apply; published: those that made the published match files; paper: those of the paper's text",
        choices=("published", "paper"),
    )
    regions: str = option(
        "separate",
        "separate: search torso and arms one after the other, as published; joint: search them together, then assign "
        "each match to its region",
        choices=("separate", "joint"),
    )
    workers: int = option(0, "number of processes; 0: one for each core", minimum=0, maximum=WORKERS)
    preview: int = option(
        12, "number of pairs to draw, with their kept and dropped matches; 0: none", minimum=0, maximum=MANY
    )
    strict: bool = option(
        False, "stop at the first pair that fails, instead of listing it and continuing with the others"
    )


def preprocess_sift(config: PreprocessSift) -> str:
    """Match every pair of a split's folder that has no match file yet.

    The output folder also gets ``preprocess_sift.yaml`` (the configuration), ``counts.jsonl`` (how many matches each
    filter left, one line for each pair), ``matches.md`` (the sums), ``previews/`` and ``previews.jpg``.

    Returns:
        The table of the counts.

    Raises:
        InputError: a folder or the pair list is missing or empty; or a pair failed (raised once all other pairs are
            done, or at once if ``strict``).
        UsageError: the output folder belongs to another configuration, or the matcher's weights are not named.
    """
    import os

    from siftvton.correspondence.matchers import matcher, require_weights
    from siftvton.data.layouts.base import GARMENT, IMAGE
    from siftvton.data.match_counts import matches_report, recorded
    from siftvton.data.match_jobs import is_done, job_of, match_all, write_sheet
    from siftvton.files import write_text
    from siftvton.wording import counted

    split = config.data.open().split(config.data.split)
    pairs = split.matched_pairs()
    if not pairs:
        raise InputError(f"{split.folder}: nobody wears a garment whose picture is there, so there is nothing to match")
    for kind, name in ((IMAGE, pairs[0].person), (GARMENT, pairs[0].garment)):
        folder = split.candidates(kind, name)[0].parent
        if not os.path.isdir(folder):
            raise InputError(f"{folder}: no such folder; data/README.md describes the folders")
    require_weights(config.matcher, given=config.matcher_weights is not None)
    weights = None
    if config.matcher_weights is not None:
        from siftvton.data.matcher_weights import weights_folder  # imports the hub's client, 0.15 s

        weights = weights_folder(config.matcher_weights)
        matcher(config.matcher, weights)  # if they cannot be loaded, the command ends before it writes anything
    output = output_folder(config)
    _claim(output, config)
    jobs, failed = [], []
    for index, pair in enumerate(pairs):
        try:
            preview = index < config.preview
            joint = config.regions == "joint"
            settings = (config.data.frame, config.matcher, config.preset, joint)
            jobs.append(job_of(split, pair, output, *settings, preview=preview, weights=weights))
        except InputError as error:
            if config.strict:
                raise
            failed.append(str(error))

    counts = recorded(output / "counts.jsonl", jobs)
    to_do = [job for job in jobs if not is_done(job, counts.get(job.person_id))]
    if len(to_do) < len(jobs):
        print(f"{len(jobs) - len(to_do)} of {counted(len(jobs), 'pair')} already done")
    new, failures = match_all(to_do, config.workers or os.cpu_count() or 1, output / "counts.jsonl", config.strict)
    counts |= new

    finished = [job for job in jobs if job.person_id not in failures]
    write_sheet(output / "previews.jpg", [job for job in finished if job.preview], counts)
    failed += [failures[job.person_id] for job in jobs if job.person_id in failures]
    of_finished = [counts[job.person_id] for job in finished]
    table = matches_report(config.data.split, config.data.frame, config.preset, jobs, of_finished, failed)
    write_text(output / "matches.md", table)
    if failed:
        print(table, end="")
        raise InputError(
            f"{len(failed)} of {counted(len(pairs), 'pair')} failed, as listed; repair their files, then run the same "
            "command again"
        )
    return table


def output_folder(config: PreprocessSift) -> Path:
    """Return the folder for the match files: ``output`` if it is given, else the one in the split's folder."""
    return Path(config.output) if config.output else config.data.open().split(config.data.split).matches


def _claim(output: Path, config: PreprocessSift) -> None:
    """Save the configuration in the output folder; refuse a folder with matches of another configuration."""
    from siftvton.data.match_folder import MATCHES_ENDING, MATCHES_NOTE
    from siftvton.files import is_file
    from siftvton.settings import differences, save_configuration

    saved = output / MATCHES_NOTE
    if is_file(saved):
        keys = ("matcher", "matcher_weights", "preset", "regions", "data.matches_frame")
        before = differences(
            config, saved, older={"matcher": "sift", "matcher_weights": None}
        )  # as before the keys existed
        changed = [line for line in before if line.startswith(keys)]
        if changed:
            raise UsageError(
                f"output={output}: holds matches of other settings ({'; '.join(changed)}); use another folder"
            )
    elif any(output.glob(f"*{MATCHES_ENDING}")):
        raise UsageError(
            f"output={output}: holds match files that this command did not make (there is no {saved.name}); use "
            "another folder"
        )
    save_configuration(replace(config, output=str(output)), saved)


COMMAND = Command(PreprocessSift, preprocess_sift, "vitonhd.yaml", output=output_folder)
