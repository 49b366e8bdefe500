"""The process group of the learner's workers: gloo on CPUs, NCCL on GPUs. One process is a group too."""

import os
import socket
from typing import Any

import torch.distributed as dist
from ray.util import get_node_ip_address

from rl.models import threads_here

Address = tuple[str, int]


class Rendezvous:
    """Where the workers of a group meet: a store that rank 0 opens on a free port, and keeps open."""

    def __init__(self) -> None:
        self._store: Any = None

    def open(self, world: int) -> Address:
        host = get_node_ip_address()
        self._store = dist.TCPStore(host, 0, world, is_master=True, wait_for_workers=False)
        return host, self._store.port

    def join(self, rank: int, world: int, address: Address | None, device: str) -> None:
        """Returns when all are there. Without an address the process is alone; a group that is there already stays."""
        # Ray shows a worker its own GPU alone; DeepSpeed reads both when it is first imported.
        os.environ.update({"LOCAL_RANK": "0"} | ({} if device == "cuda" else {"DS_ACCELERATOR": "cpu"}))
        if dist.is_initialized():
            return
        if address is None:
            self._store = dist.HashStore()
        elif self._store is None:
            self._store = dist.TCPStore(*address, world, is_master=False)
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, store=self._store, rank=rank, world_size=world)


def threads_of_worker(wanted: int, cores_divided: int = 1) -> int:
    """CPU threads of this worker: as many as wanted, or its share of the cores of its machine (0). Collective."""
    hosts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(hosts, socket.gethostname())
    return wanted or max(1, threads_here(0, cores_divided) // hosts.count(socket.gethostname()))
