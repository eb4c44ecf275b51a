"""The keywords of keepalived.conf and how they nest, for keepalived 2.2.7 and 2.3.3.

A keyword is known only in its place. What is not here is unknown to keepalived there.
"""

import enum


class Form(enum.Enum):
    """What follows a keyword that has no keywords inside."""

    LINE = "line"
    """Only its words."""
    LIST = "list"
    """A block of lines that are no keywords."""
    SKIPPED = "skipped"
    """A block that the checkers do not read. It ends with its own brace, whatever is in it."""


Grammar = dict[str, "Grammar | Form"]


_ARITIES = {
    2: "real_server virtual_server sorry_server",
    1: (
        "alpha inhibit_on_failure smtp_alert enable_sni fast_recovery log_all_failures persistence_engine weight retry"
        " delay_before_retry warmup connect_timeout delay_loop uthreshold lthreshold virtualhost lb_algo"
        " lvs_sched persistence_timeout persistence_granularity protocol quorum hysteresis connect_ip connect_port"
        " bindto bind_port bind_if fwmark path digest http_protocol misc_timeout helo_name type name track_file file"
    ),
    0: (
        "omega ha_suspend ops hashed misc_dynamic regex_no_match sorry_server_inhibit TCP_CHECK HTTP_GET SSL_GET"
        " MISC_CHECK UDP_CHECK DNS_CHECK SMTP_CHECK PING_CHECK url host"
    ),
}
ARITY = {keyword: count for count, keywords in _ARITIES.items() for keyword in keywords.split()}
"""How many words keepalived reads behind a keyword. It passes over what follows them."""


def _lines(names: str) -> Grammar:
    return dict.fromkeys(names.split(), Form.LINE)


_PACE = "retry delay_before_retry warmup delay_loop alpha log_all_failures"
_CONNECTION = f"connect_ip connect_port bindto bind_port bind_if connect_timeout fwmark {_PACE}"
_URL = _lines(
    "path digest status_code virtualhost regex regex_no_match regex_options regex_min_offset regex_max_offset"
    " regex_stack tls_compliant"
)
_HTTP: Grammar = {
    **_lines(f"{_CONNECTION} nb_get_retry virtualhost http_protocol enable_sni fast_recovery tls_compliant"),
    "url": _URL,
}

CHECKERS: Grammar = {
    "MISC_CHECK": _lines(f"{_PACE} misc_path misc_timeout misc_dynamic user"),
    "SMTP_CHECK": {**_lines(f"{_CONNECTION} helo_name"), "host": _lines(_CONNECTION)},
    "TCP_CHECK": _lines(_CONNECTION),
    "PING_CHECK": _lines(_CONNECTION),
    "UDP_CHECK": _lines(f"{_CONNECTION} payload require_reply min_reply_length max_reply_length"),
    "HTTP_GET": _HTTP,
    "SSL_GET": _HTTP,
    "DNS_CHECK": _lines(f"{_CONNECTION} type name"),
    "FILE_CHECK": _lines("track_file weight"),
    "BFD_CHECK": _lines("name alpha"),
}
"""The checkers of a real server."""

_REAL_SERVER: Grammar = {
    **_lines(
        "weight lvs_method uthreshold lthreshold inhibit_on_failure notify_up notify_down alpha retry"
        " delay_before_retry warmup connect_timeout delay_loop smtp_alert virtualhost snmp_name"
    ),
    **CHECKERS,
}

_VIRTUAL_SERVER: Grammar = {
    **_lines(
        "ip_family retry delay_before_retry warmup connect_timeout delay_loop inhibit_on_failure lb_algo lvs_sched"
        " hashed ops flag-1 flag-2 flag-3 sh-port sh-fallback mh-port mh-fallback lb_kind lvs_method persistence_engine"
        " persistence_timeout persistence_granularity protocol ha_suspend smtp_alert virtualhost snmp_name alpha omega"
        " quorum_up quorum_down quorum hysteresis weight sorry_server sorry_server_inhibit sorry_server_lvs_method"
    ),
    "real_server": _REAL_SERVER,
}

_GLOBAL: Grammar = {
    **_lines(
        "process_names process_name vrrp_process_name checker_process_name lvs_process_name bfd_process_name router_id"
        " notification_email_from smtp_server smtp_helo_name smtp_connect_timeout smtp_alert startup_script"
        " startup_script_timeout shutdown_script shutdown_script_timeout max_auto_priority min_auto_priority_delay"
        " smtp_alert_vrrp smtp_alert_checker checker_log_all_failures dynamic_interfaces no_email_faults"
        " default_interface disable_local_igmp lvs_timeouts lvs_flush lvs_flush_on_stop lvs_flush_onstop"
        " lvs_sync_daemon vrrp_mcast_group4 vrrp_mcast_group6 vrrp_garp_master_delay vrrp_garp_master_repeat"
        " vrrp_garp_master_refresh vrrp_garp_master_refresh_repeat vrrp_garp_lower_prio_delay"
        " vrrp_garp_lower_prio_repeat vrrp_down_timer_adverts vrrp_garp_interval vrrp_gna_interval vrrp_min_garp"
        " vrrp_garp_extra_if vrrp_vmac_garp_intvl vrrp_lower_prio_no_advert vrrp_higher_prio_send_advert vrrp_version"
        " vrrp_iptables vrrp_ipsets nftables nftables_priority nftables_ifindex nftables_ipvs nftables_ipvs_priority"
        " nftables_ipvs_start_fwmark nftables_counters vrrp_check_unicast_src vrrp_skip_check_adv_addr vrrp_strict"
        " vrrp_priority vrrp_no_swap vrrp_rt_priority vrrp_cpu_affinity vrrp_rlimit_rttime vrrp_rlimit_rtime"
        " notify_fifo notify_fifo_script vrrp_notify_fifo vrrp_notify_fifo_script vrrp_notify_priority_changes"
        " fifo_write_vrrp_states_on_reload lvs_notify_fifo lvs_notify_fifo_script checker_priority checker_no_swap"
        " checker_rt_priority checker_cpu_affinity checker_rlimit_rttime checker_rlimit_rtime bfd_priority bfd_no_swap"
        " bfd_rt_priority bfd_cpu_affinity bfd_rlimit_rttime bfd_rlimit_rtime snmp_socket enable_traps"
        " enable_snmp_vrrp enable_snmp_keepalived enable_snmp_rfc enable_snmp_rfcv2 enable_snmp_rfcv3"
        " enable_snmp_checker enable_dbus dbus_service_name script_user enable_script_security"
        " vrrp_netlink_cmd_rcv_bufs vrrp_netlink_cmd_rcv_bufs_force vrrp_netlink_monitor_rcv_bufs"
        " vrrp_netlink_monitor_rcv_bufs_force process_monitor_rcv_bufs process_monitor_rcv_bufs_force"
        " lvs_netlink_cmd_rcv_bufs lvs_netlink_cmd_rcv_bufs_force lvs_netlink_monitor_rcv_bufs"
        " lvs_netlink_monitor_rcv_bufs_force rs_init_notifies no_checker_emails vrrp_rx_bufs_policy"
        " vrrp_rx_bufs_multiplier vrrp_startup_delay log_unknown_vrids vmac_prefix vmac_addr_prefix umask random_seed"
        " reload_check_config reload_time_file reload_repeat reload_file include_check config_save_dir"
        " tmp_config_directory data_use_instance dbus_no_interface_name iproute_etc_dir iproute_usr_dir json_dump_file"
        " json_version snmp_rs_stats_update_interval snmp_vs_stats_update_interval state_dump_file stats_dump_file"
        " use_symlink_paths v3_checksum_as_v2 vrrp_owner_ignore_adverts"
    ),
    "notification_email": Form.LIST,
}

_SKIPPED = (
    "track_group static_ipaddress static_routes static_rules vrrp_sync_group garp_group linkbeat_interfaces"
    " vrrp_instance vrrp_script vrrp_track_process interface_up_down_delays bfd_instance"
)
"""Blocks of other processes of keepalived."""

ROOT: Grammar = {
    **_lines(
        "linkbeat_use_polling net_namespace net_namespace_ipvs namespace_with_ipsets use_pid_dir instance"
        " child_wait_time"
    ),
    "global_defs": _GLOBAL,
    "SSL": _lines("password ca certificate key"),
    "virtual_server_group": Form.LIST,
    "virtual_server": _VIRTUAL_SERVER,
    "track_file": _lines("file weight init_file"),
    "vrrp_track_file": _lines("file weight init_file"),
    **dict.fromkeys(_SKIPPED.split(), Form.SKIPPED),
}
"""The keywords outside of all blocks."""
