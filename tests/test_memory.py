import platform
import subprocess
import sys

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
