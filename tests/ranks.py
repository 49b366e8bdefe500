"""Process groups for tests without Ray: of this process alone, or of several that run the same module.

spawn("tests.train.engines", folder)     # two processes of that module, each of which calls run_rank(its function)
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist


def join(rank: int = 0, world: int = 1, store: dist.Store | None = None) -> None:
    os.environ.update(DS_ACCELERATOR="cpu", LOCAL_RANK=str(rank))
    dist.init_process_group("gloo", store=store or dist.HashStore(), rank=rank, world_size=world)


def spawn(module: str, folder: Path, world: int = 2) -> list[subprocess.Popen[bytes]]:
    return [
        subprocess.Popen([sys.executable, "-m", module, str(rank), str(world), str(folder)]) for rank in range(world)
    ]


def run_rank(work: Callable[[int, int, Path], None]) -> None:
    """What a module that is spawned does: `work(rank, world, folder)` in the group of all of them."""
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    join(rank, world, dist.FileStore(str(folder / "store"), world))
    work(rank, world, folder)
    dist.barrier()
    dist.destroy_process_group()
