"""The package does the daemon's main job on a real IPVS table, and leaves the table alone when it comes and goes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.boot import Guest
from lab.host import REPOSITORY, needs_guest
from tests.packaging import installed_story
from tests.packaging.package import SUITES, as_version, built
from tests.packaging.root import image_with

pytestmark = [pytest.mark.long, pytest.mark.boots]

DEADLINE_S = 3000.0
"""How long the story may take, seconds. An emulated guest takes minutes to boot, and again to unpack and compile."""

OF_THE_HOST = Path("/run/lab/host")
"""Where a guest has the host's files without an overlay, with a cache."""


@pytest.mark.parametrize("suite", SUITES)
def test_installed_package_does_its_job_and_leaves_the_table(suite: str, tmp_path: Path) -> None:
    package = built()
    files = {
        installed_story.IMAGE: image_with(package, suite, tmp_path),
        installed_story.LATER: as_version(package, "1000-1", tmp_path),
    }
    story = [sys.executable, "-m", installed_story.__name__]
    if not needs_guest():
        subprocess.run(
            story, check=True, cwd=REPOSITORY, env={**os.environ, **{name: str(path) for name, path in files.items()}}
        )
        return
    where = [f"{name}={OF_THE_HOST}{path}" for name, path in files.items()]
    folder = tmp_path / "guest"
    folder.mkdir()
    with Guest(["env", *where, *story], folder=folder, cwd=REPOSITORY, deadline_s=DEADLINE_S) as guest:
        give_up = time.monotonic() + DEADLINE_S + 60
        while guest.running and guest.status is None and time.monotonic() < give_up:
            time.sleep(1)
        assert guest.status == 0, guest.last_words(200)
