"""A command line that is newer than the running daemon still reads its answers: what came later has a default."""

import json

import msgspec
import pytest

from lvs_healthd.view.status_values import Status
from lvs_healthd.view.table_values import Listing

DAEMON = {
    "version": "0.1.0",
    "pid": 812,
    "mode": "enforce",
    "table": "IPVS 1.2.1",
    "started": 1.0,
    "config_file": "/etc/lvs-healthd/config.toml",
    "config_loaded": 2.0,
}
SERVER = {
    "server": "198.51.100.11:80",
    "verdict": "up",
    "reason": "connected",
    "weight_configured": 1,
    "weight_wanted": 1,
    "weight_actual": 1,
}
STATUS = {"daemon": DAEMON, "services": [{"service": "web", "in_fallback": False, "real_servers": [SERVER]}]}
FIELDS = {"forward": "nat", "weight": 1, "upper_threshold": 0, "lower_threshold": 0, "tunnel": "none"}
SAME = {"server": "198.51.100.11:80", "state": "ok"}
LINE: dict[str, object] = {**SAME, "differences": [], "actual": FIELDS, "wanted": None}
LISTING = {
    "daemon": DAEMON,
    "services": [{"service": "web", "address": "192.0.2.100:80/tcp", "state": "missing", "servers": [LINE]}],
}


@pytest.mark.parametrize(("answer", "kind"), [(STATUS, Status), (LISTING, Listing)])
def test_answer_without_what_came_later_is_read(answer: object, kind: type[msgspec.Struct]) -> None:
    found = msgspec.json.decode(json.dumps(answer), type=kind)
    assert msgspec.to_builtins(found)["daemon"]["last_resync"] is None
