"""Defines the keys of the file's outermost level, and of the tables about the daemon as a whole."""

from lvs_healthd.config import addresses, values
from lvs_healthd.config.model import Mode
from lvs_healthd.config.schema import Key

TOP_KEYS = {
    "include": Key(values.one_or_more(values.string)),
    "daemon": Key(values.anything),
    "ipvs": Key(values.anything),
    "brake": Key(values.anything),
    "pair": Key(values.anything),
    "fleet": Key(values.anything),
    "defaults": Key(values.anything),
    "pool": Key(values.anything),
    "check": Key(values.anything),
    "service": Key(values.anything),
    "hook": Key(values.anything),
}

DEFAULTS_KEYS = {"check": Key(values.anything), "service": Key(values.anything)}

DAEMON_KEYS = {
    "listen": Key(addresses.listen),
    "control": Key(values.socket_path),
    "state": Key(values.absolute_path),
    "overrides": Key(values.optional_path),
    "maintenance_dir": Key(values.optional_path),
    "mode": Key(values.member(Mode)),
    "resync": Key(values.duration("1s", "1h")),
    "reload_guard": Key(values.percentage(0, 100)),
    "max_probes": Key(values.integer(1, 100_000)),
    "history": Key(values.integer(0, 200)),
    "max_exec": Key(values.integer(1, 1000)),
    "exec_socket": Key(values.optional_socket_path),
    "probe_workers": Key(values.integer(1, 64)),
}

BRAKE_KEYS = {
    "share": Key(values.percentage(1, 100)),
    "within": Key(values.duration("1s", "10m")),
    "min_targets": Key(values.integer(2, 100_000)),
    "longest": Key(values.duration("1s", "24h")),
}
