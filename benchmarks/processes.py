"""Peak memory: of this process, and of a computation that runs alone in a new process."""

import resource
import subprocess
import sys


def peak() -> float:
    """Return the peak memory of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def peak_apart(file: str, *arguments: str) -> float:
    """Run a Python file in a new process, and return the peak in GiB that it prints in its last line."""
    done = subprocess.run([sys.executable, file, *arguments], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])
