"""What `ray job submit --working-dir .` takes along, by Ray's own packaging: the code, and no more of a checkout."""

import zipfile
from pathlib import Path

from ray._private.runtime_env.packaging import create_package

from tests.cluster_lab import AT_HOME
from tests.ray_jobs import bare_checkout

NEEDED = ("wildreward/cli.py", "pipelines/presets/label/lexicon.yaml", "serve/page.html", "train/__main__.py")
LIMIT_BYTES = 8 * 2**20
"""Ray uploads it for every job, and refuses more than 500 MB."""


def test_a_job_gets_the_code_and_no_environment_data_or_runs(tmp_path: Path) -> None:
    checkout = bare_checkout(tmp_path / "checkout", AT_HOME)
    package = tmp_path / "package.zip"
    create_package(str(checkout), package, include_gitignore=True)
    with zipfile.ZipFile(package) as found:
        names = set(found.namelist())
    assert set(NEEDED) <= names
    assert not names & set(AT_HOME)
    assert not {name.split("/")[0] for name in names} & {".git", ".venv", "runs", "data", "wandb"}
    assert package.stat().st_size < LIMIT_BYTES
