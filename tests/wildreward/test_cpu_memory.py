"""Freed memory stays with the process, in a process of its own: the setting cannot be taken back."""

import subprocess
import sys

PASSES = """
import resource, sys
from threading import Thread
from wildreward.cpu_memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def passes():
    for _ in range(2):
        before = faults()
        for _ in range(4):
            block = b"x" * (64 * 2**20)
            del block
    print(faults() - before)
thread = Thread(target=passes)
thread.start()
thread.join()
"""


def faults_of_later_passes(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", PASSES, how], check=True, capture_output=True, text=True).stdout)


def test_later_passes_use_the_pages_of_the_first() -> None:
    assert faults_of_later_passes("default") > 1000
    assert faults_of_later_passes("kept") < 100
