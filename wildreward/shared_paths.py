"""Does every node of the cluster see the local paths of a stage? Asked by a small task on each, before work begins.

A local output that other nodes do not have would come apart silently: each would write to a disk of its own.
"""

import os
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildreward import storage
from wildreward.errors import WildrewardError
from wildreward.settings.base import StageSettings
from wildreward.storage_checks import Place, nearest_directory, places

ANSWER_S = 30.0
"""How long a node may take to answer; starting a worker there takes a few seconds."""

OWN_DISK = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "tmpfs", "ramfs", "apfs"})
"""File systems that no other machine writes to."""

ADVICE = "Give s3://, gs://, hf:// or a directory on a disk that all nodes share (NFS, EFS, Lustre)"


@dataclass(frozen=True)
class Seen:
    """A local path and what it shows on this machine: for a written one a marker, for others size or names."""

    place: Place
    sight: str


def require_shared(stage: str, settings: StageSettings, here_only: Collection[str] = ()) -> None:
    """`here_only` are the settings whose paths only this process opens.

    Raises WildrewardError naming setting and node, for a local path that a node of the connected cluster does not see
    as this machine does, or cannot write to.
    """
    local = [place for place in places(settings) if storage.is_local(place.path) and place.field not in {*here_only}]
    others = _other_nodes()
    if local and others:
        with _marked(local) as seen:
            problems = _ask(others, seen)
        if problems:
            raise WildrewardError(f"{stage}: {'; '.join(problems)}. {ADVICE}")
    if grows := _grows():
        for place in local:
            if place.written and (kind := filesystem_of(place.path)) in OWN_DISK:
                raise WildrewardError(
                    f"{stage}: {place.flag}: lies on a disk of this machine ({kind}), which nodes that the autoscaler "
                    f"may add ({grows}) will not see. {ADVICE}"
                )


def sight_of(path: str) -> str:
    """What a path shows, alike wherever it is the same: a file's size, or the first names in a directory."""
    inner = storage.plain(path)
    while any(sign in inner for sign in "*?["):
        inner = os.path.dirname(inner)
    try:
        if os.path.isdir(inner):
            return f"a directory of {sorted(os.listdir(inner))[:50]}"
        return f"a file of {os.path.getsize(inner)} bytes"
    except OSError as error:
        return f"nothing: {error.strerror}"


@contextmanager
def _marked(local: Sequence[Place]) -> Iterator[list[Seen]]:
    """A marker in every directory that is written to, for as long as the block lasts."""
    marker = f".wildreward-node-{uuid.uuid4().hex}"
    made: list[Path] = []
    try:
        seen = []
        for place in local:
            if not place.written:
                seen.append(Seen(place, sight_of(place.path)))
                continue
            folder = nearest_directory(place.path)
            (folder / marker).touch()
            made.append(folder / marker)
            seen.append(Seen(Place(place.field, str(folder), True), marker))
        yield seen
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def look(seen: Sequence[Seen]) -> list[str]:
    """Run on a node: what is wrong with each path there, "" where it is as it should be."""
    return [_written(item) if item.place.written else _read(item) for item in seen]


def _read(item: Seen) -> str:
    found = sight_of(item.place.path)
    return "" if found == item.sight else f"there it is {found}" if found.startswith("nothing") else "there it differs"


def _written(item: Seen) -> str:
    folder = Path(item.place.path)
    if not (folder / item.sight).exists():
        return "there it is another directory" if folder.is_dir() else "there it is not"
    try:
        own = folder / f"{item.sight}-{uuid.uuid4().hex}"
        own.touch()
        own.unlink()
    except OSError as error:
        return f"it cannot be written to there: {error.strerror}"
    return ""


def _ask(nodes: dict[str, str], seen: list[Seen]) -> list[str]:
    """A line for each path that a node does not see, the first node that does not; raises nothing for silent nodes."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(look)
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False), name="SeePaths").remote(
            seen
        ): name
        for node, name in nodes.items()
    }
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
    for ref in silent:
        print(f"warning: {asked[ref]} did not say within {ANSWER_S:g} s whether it sees the paths of this run")
    problems: dict[str, str] = {}
    for ref in answered:
        try:
            found = ray.get(ref)
        except RayError as error:
            print(f"warning: {asked[ref]} could not say whether it sees the paths of this run: {error}")
            continue
        for item, problem in zip(seen, found, strict=True):
            if problem:
                problems.setdefault(item.place.field, f"{item.place.flag}: {asked[ref]} does not see it ({problem})")
    return list(problems.values())


def _other_nodes() -> dict[str, str]:
    """Id to name of the alive nodes, without the one this process runs on."""
    import ray

    alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
    if not ray.util.client.ray.is_connected():
        alive.pop(ray.get_runtime_context().get_node_id(), None)
    return {name: f"node {node['NodeManagerAddress']} ({name[:8]})" for name, node in alive.items()}


def _grows() -> str:
    """What the cluster's autoscaler may add, in words; empty where there is none."""
    from wildreward.resources import autoscaled_nodes, in_words

    added = autoscaled_nodes()
    return in_words(added) if added else ""


def filesystem_of(path: str) -> str:
    """Type of the file system that a path is on, by the longest mount point above it; empty where that is not told."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    where = str(nearest_directory(path).resolve())
    mounts: dict[str, Any] = {line.split()[1].replace("\\040", " "): line.split()[2] for line in lines}
    above = [point for point in mounts if where == point or where.startswith(point.rstrip("/") + "/")]
    return str(mounts[max(above, key=len)]) if above else ""
