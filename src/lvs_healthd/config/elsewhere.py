"""What keepalived, ldirectord and other programs call things that have another name here, for errors about such words.

Somebody who moves a configuration by hand writes such words. The most similar word of ours often means something else.
"""

from lvs_healthd.config.model import OnFailure

_SCHEDULER = ("scheduler", '"wrr"')
_FORWARD = ("forward", '"nat"')
_PERSISTENCE = ("persistence", '"300s"')
_FALLBACK = ("fallback", '["198.51.100.99:80"]')
_INTERVAL = ("interval", '"2s"')
_TIMEOUT = ("timeout", '"1s"')
_FALL = ("fall", "3")

KEYS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("lb_algo", "lvs_sched", "sched", "algorithm", "balance"), _SCHEDULER),
    **dict.fromkeys(("lb_kind", "lvs_method", "method"), _FORWARD),
    **dict.fromkeys(("persistence_timeout", "persistent"), _PERSISTENCE),
    **dict.fromkeys(("persistence_granularity", "netmask"), ("persistence_mask", "24")),
    **dict.fromkeys(("sorry_server", "backup", "fallback_server"), _FALLBACK),
    **dict.fromkeys(("inhibit_on_failure", "quiescent"), ("on_failure", '"quiesce"')),
    **dict.fromkeys(("quorum", "minimum"), ("min_up", "2")),
    "ops": ("one_packet", "true"),
    **dict.fromkeys(("real", "servers", "server", "backends"), ("real_server", '["198.51.100.11:80"]')),
    **dict.fromkeys(("virtual", "vip_address"), ("address", '"192.0.2.100:80"')),
    "ip": ("address", '"198.51.100.11:80"'),
    "port": ("address", '"198.51.100.11:80"'),
    **dict.fromkeys(("delay_loop", "checkinterval", "inter"), _INTERVAL),
    "delay_before_retry": ("fast_interval", '"500ms"'),
    **dict.fromkeys(("connect_timeout", "checktimeout", "negotiatetimeout", "misc_timeout"), _TIMEOUT),
    **dict.fromkeys(("retry", "retries", "nb_get_retry", "failurecount", "checkcount"), _FALL),
    **dict.fromkeys(("request", "url", "uri"), ("path", '"/healthz"')),
    "receive": ("expect", '"220"'),
    **dict.fromkeys(("virtualhost", "virtual_host"), ("host", '"www.example.org"')),
    **dict.fromkeys(("checkport", "connect_port"), ("port", "8080")),
    "connect_ip": ("address", '"198.51.100.50"'),
    "bindto": ("source", '"192.0.2.1"'),
    "misc_path": ("command", '["/usr/local/bin/check"]'),
    "status_code": ("status", '["200-299"]'),
    **dict.fromkeys(("checktype", "check_type"), ("type", '"http"')),
    "password": ("password_file", '"/etc/lvs-healthd/password"'),
    "token": ("token_file", '"/etc/lvs-healthd/token"'),
}
"""Other programs' keys, in small letters: each with our key, and a value as an example."""

CHECK_TYPES = {
    **dict.fromkeys(("http_get", "negotiate"), "http"),
    "ssl_get": "https",
    **dict.fromkeys(("tcp_check", "connect"), "tcp"),
    "udp_check": "udp",
    "dns_check": "dns",
    **dict.fromkeys(("ping_check", "icmp"), "ping"),
    **dict.fromkeys(("misc_check", "external", "external-perl", "script"), "exec"),
}
"""Other programs' types of checks, in small letters, and ours."""

ON_FAILURE = {
    **dict.fromkeys(("inhibit", "inhibit_on_failure", "quiescent"), OnFailure.QUIESCE),
    "delete": OnFailure.REMOVE,
}
"""Other words for what is done with a server that fails."""
