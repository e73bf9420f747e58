"""Configuration files that are damaged, or that use features of YAML that are not allowed here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import yaml
from robustness.harness import Bench, Case, Verdict, judged, run_script
from robustness.mutations import IN_PLACE, truncations

WHOLE = b"# mine\noutput: results\ndata: {root: pictures, height: 256}\nsteps: 7\n"
SCRIPTS = ("infer", "train")

# Variants that must be read like the undamaged file: the output of infer is `results`, and its steps are 7.
READABLE = {
    "byte-order mark": b"\xef\xbb\xbf" + WHOLE,
    "CRLF": WHOLE.replace(b"\n", b"\r\n"),
    "byte-order mark and CRLF": b"\xef\xbb\xbf" + WHOLE.replace(b"\n", b"\r\n"),
    "document marks": b"---\n" + WHOLE + b"...\n",
    "quotes": WHOLE.replace(b"results", b'"results"'),
    "anchors": b"output: &a results\ndata: {root: pictures}\nsteps: 7\n",
}
EITHER = {
    "UTF-16": WHOLE.decode().encode("utf-16"),
    "merge key": b"<<: {steps: 7}\noutput: results\n",
    "a key of another script": WHOLE + b"test_pairs: 9\n",
    "a missing mark": WHOLE + b"checkpoint: ???\n",
    "null where a section belongs": WHOLE + b"execution:\n",
}
REFUSED = {
    "a list": b"- output: x\n",
    "a number": b"3\n",
    "only a comment": b"# nothing\n",
    "a tab": b"data:\n\troot: x\n",
    "two documents": WHOLE + b"---\n" + WHOLE,
    "a NUL byte": WHOLE + b"seed: 1\0\n",
    "a byte that is not UTF-8": WHOLE + b"seed: \xff\n",
    "an open bracket": WHOLE + b"seed: [1\n",
    "a key twice": WHOLE + b"steps: 9\n",
    "a number as key": b"3: x\n" + WHOLE,
    "null as key": b"null: x\n" + WHOLE,
    "a list as key": b"? [1, 2]\n: x\n" + WHOLE,
    "an unknown anchor": b"output: *nowhere\n",
    "an alias of itself": b"data: &a {root: *a}\n",
    "a date": b"data: {height: 2024-99-99}\n",
    "a tagged number": b"data: {height: !!int foo}\n",
    "a tagged truth value": b"strict: !!bool maybe\n",
    "a tagged time": b"output: !!timestamp foo\n",
    "bytes": b"output: !!binary aGVsbG8=\n",
    "a set": b"output: !!set {a, b}\n",
    "an unknown tag": b"output: !mine x\n",
    "code": b"output: !!python/object/apply:os.system ['touch CANARY']\n",
    "code by another tag": b"output: !!python/object/new:subprocess.check_output [[touch, CANARY]]\n",
    "an interpolation of nothing": b"output: ${nope}\n",
    "an interpolation of itself": b"output: ${output}\n",
    "an unknown resolver": b"output: ${oc.nothing:x}\n",
    "nested too deep": b"a: " + b"[" * 5000 + b"]" * 5000 + b"\n",
    "nested mappings too deep": b"a: " + b"{a: " * 3000 + b"1" + b"}" * 3000 + b"\n",
    "a base that is missing": b"base: nowhere.yaml\n" + WHOLE,
    "a base of itself": b"base: mine.yaml\n" + WHOLE,
    "a base that is a list": b"base: [a, b]\n" + WHOLE,
    "a base that is a folder": b"base: .\n" + WHOLE,
    "an unknown key": WHOLE + b"stpes: 3\n",
    "a section where a value belongs": b"steps: {a: 1}\n",
    "a value where a section belongs": b"data: pictures\n",
    "a list where a section belongs": b"data: [root]\n",
}
BOMB = b"x: &a0 [1,1,1,1,1,1,1,1,1]\n" + b"".join(
    b"x%d: &a%d [%s]\n" % (level, level, b",".join([b"*a%d" % (level - 1)] * 9)) for level in range(1, 9)
)


def cases() -> Iterator[Case]:
    for script in SCRIPTS:
        for name, content in READABLE.items():
            yield Case("YAML files", f"{script}: {name}", partial(_readable, script, content, False))
        for name, content in EITHER.items():
            yield Case("YAML files", f"{script}: {name}", partial(_readable, script, content, True))
        for name, content in {**REFUSED, **IN_PLACE}.items():
            yield Case("YAML files", f"{script}: {name}", partial(_refused, script, content))
        for name, change in truncations(7).items():
            yield Case("YAML files", f"{script}: {name}", partial(_cut, script, change(WHOLE)))
        yield Case("YAML files", f"{script}: an alias bomb", partial(_refused, script, BOMB), limit=20)
        for name in ("a folder", "a missing file", "a dangling link", "a link", "no rights"):
            yield Case("YAML files", f"{script}: {name}", partial(_no_file, script, name))
    for text, expected in (("~/here", "home/here"), ("${HOME}/here", "home/here")):
        for where in ("file", "command line"):
            yield Case("YAML files", f"output: {text} on the {where}", partial(_home, text, expected, where))


def _dry(script: str, path: object) -> object:
    return run_script(script, "--config", str(path), "--dry-run")


def _readable(script: str, content: bytes, refusable: bool, bench: Bench) -> Verdict:
    finished = _dry(script, bench.file("mine.yaml", content))
    expected = {"output": "results", "steps": 7}

    def difference() -> str:
        shown = yaml.safe_load(finished.out)
        return "; ".join(f"{key} is {shown[key]}" for key in expected if key in shown and shown[key] != expected[key])

    return judged(finished, ["mine.yaml"], difference, refusable=refusable)


def _refused(script: str, content: bytes, bench: Bench) -> Verdict:
    path = bench.file("mine.yaml", content.replace(b"CANARY", str(bench.canary).encode()))
    based = ["base", "nowhere.yaml", str(bench.inputs)] if content.startswith(b"base") else []
    return judged(_dry(script, path), [path.name, *based])


def _cut(script: str, content: bytes, bench: Bench) -> Verdict:
    """A truncated file can still be valid YAML; then its values are used."""
    finished = _dry(script, bench.file("mine.yaml", content))
    return judged(finished, ["mine.yaml"], lambda: "" if isinstance(yaml.safe_load(content), dict) else "accepted")


def _no_file(script: str, name: str, bench: Bench) -> Verdict:
    path = bench.inputs / "mine.yaml"
    other = bench.file("other.yaml", WHOLE)
    if name == "a folder":
        path.mkdir()
    elif name == "a dangling link":
        path.symlink_to("nowhere.yaml")
    elif name == "a link":
        path.symlink_to(other)
    elif name == "no rights":
        path.write_bytes(WHOLE)
        path.chmod(0)
    finished = _dry(script, path)
    readable = name == "a link" or (name == "no rights" and os.access(path, os.R_OK))
    return judged(finished, ["mine.yaml"], (lambda: "") if readable else None, refusable=name != "a link")


def _home(text: str, expected: str, where: str, bench: Bench) -> Verdict:
    """A folder given by a short form such as `~`."""
    keys = [f"output={text}"] if where == "command line" else []
    path = bench.file("mine.yaml", f"output: {text if where == 'file' else 'x'}\n")
    finished = run_script("infer", "--config", str(path), "--dry-run", *keys)

    def difference() -> str:
        shown = yaml.safe_load(finished.out)["output"]
        return "" if shown == str(bench.folder / expected) else f"{text} became {shown}"

    return judged(finished, ["mine.yaml", "output"], difference, refusable=False)
