import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource, sys
from siftvton.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

def take_and_free():
    blocks = [b"x" * 2**24 for _ in range(6)]

take_and_free()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
take_and_free()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can keep freed memory on request")
def test_freed_memory_is_not_paged_in_again() -> None:
    assert faults("kept") < 100 < faults("as ever")


LARGE_PAGES = """
import ctypes, re, sys
from siftvton.memory import keep_freed_memory, use_large_pages

keep_freed_memory()
if sys.argv[1] == "large":
    use_large_pages()
block = ctypes.create_string_buffer(2**24)
middle = ctypes.addressof(block) + 2**23
for area in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", open("/proc/self/smaps").read(), flags=re.MULTILINE)[1:]:
    first, last = (int(end, 16) for end in area.split()[0].split("-"))
    if first <= middle < last:
        print("hg" in area.split("VmFlags:")[1].split())
"""


def has_large_pages(how: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", LARGE_PAGES, how], check=True, capture_output=True, text=True)
    return done.stdout.split()


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not Path("/sys/kernel/mm/transparent_hugepage").exists(),
    reason="only glibc on Linux can ask for large pages",
)
def test_memory_that_is_taken_next_is_asked_for_on_large_pages() -> None:
    assert has_large_pages("large") == ["True"]
    assert has_large_pages("as ever") == ["False"]
