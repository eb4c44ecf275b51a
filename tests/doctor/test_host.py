"""What is looked at on the host beside its network."""

from pathlib import Path

import pytest

from lvs_healthd.doctor.host import writers
from lvs_healthd.runtime.netns import Netns


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    here, elsewhere = "/proc/self/ns/net", "/proc/self/ns/uts"
    programs = [
        *(("keepalived", "Z", here), ("ldirectord", "S", here), ("bash", "R", here)),
        *(("lvs-healthd", "S", here), ("mon", "S", elsewhere)),
    ]
    for pid, (name, state, namespace) in enumerate(programs, 10):
        (tmp_path / str(pid) / "ns").mkdir(parents=True)
        (tmp_path / str(pid) / "ns" / "net").symlink_to(namespace)
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) {state} 1 1 1 0")
    return tmp_path


def test_only_programs_that_run_in_this_network_namespace_may_write_to_its_table(proc: Path) -> None:
    assert writers(Netns(), proc) == ("ldirectord",)
