"""What the simulation has found, as short runs that stay right."""

from tests.simulation.run import replay


def test_a_stranger_in_the_table_does_not_push_out_the_fallback_while_servers_are_unproven() -> None:
    replay(
        21000261,
        [
            ("round", 1),
            ("foreign", "add", 0, 1),
            ("fault", "full", True),
            ("weather", 255, 3, "timeout"),
            ("round", 4),
            ("order", "enable", -1, 7, -1, 5.0, True),
            ("foreign", "flush", 3, 6),
            ("settle",),
        ],
    )


def test_an_unproven_fallback_that_a_reload_brings_pushes_out_no_server_that_is_up() -> None:
    replay(
        21002644,
        [
            ("weather", 255, 3, "bad"),
            ("cut", 0),
            ("round", 1),
            ("weather", 128, 1, "timeout"),
            ("weather", 112, 3, "pass"),
            ("settle",),
            ("edit", "fallback", 0, 0, 893),
            ("both", "enable", 2, 2, ("reload",)),
            ("settle",),
        ],
    )


def test_last_server_of_a_service_that_fails_open_does_not_go_while_another_is_unproven() -> None:
    replay(
        71004378,
        [
            ("disk", True),
            ("edit", "server", 2, 5, 412),
            ("outcome", 0, "agent", "none"),
            ("weather", 143, 3, "bad"),
            ("reload", True),
            ("restart",),
            ("weather", 1, 1, "limit"),
            ("round", 1),
            ("outcome", 5, "tcp", "timeout"),
            ("pass", 1.0),
            ("pass", 0.1),
            ("round", 1),
        ],
    )


def test_hysteresis_does_not_take_what_we_wrote_ourselves_for_what_served_before() -> None:
    replay(
        20261203003978,
        [
            ("round", 1),
            ("outcome", 4, "tcp", "pass"),
            ("outcome", 4, "tcp", "refused"),
            ("outcome", 4, "tcp", "unreachable"),
            ("undo", "delete", 1, 7, 4),
        ],
    )


def test_service_that_failed_open_goes_on_after_a_restart_with_one_more_server() -> None:
    replay(
        20261203002607,
        [
            ("fault", "full", True),
            ("edit", "server", 0, 1, 297),
            ("weather", 255, 3, "timeout"),
            ("restart",),
            ("settle",),
        ],
    )


def test_servers_that_somebody_else_has_added_count_for_the_reload_guard() -> None:
    replay(
        20261204002348,
        [
            ("weather", 8, 7, "timeout"),
            ("round", 4),
            ("outcome", 3, "tcp", "pass"),
            ("hold", -1),
            ("edit", "drop_service", 0, 2, 591),
            ("foreign", "add", 1, 7),
            ("foreign", "add", 1, 0),
            ("foreign", "add", 1, 6),
            ("foreign", "add", 1, 3),
            ("edit", "server", 1, 6, 245),
            ("pass", 11.0),
            ("reload", False),
        ],
    )


def test_server_that_gets_a_weight_while_it_waits_for_others_says_so() -> None:
    replay(
        20261204004694,
        [
            ("edit", "drop_server", 2, 3, 697),
            ("restart",),
            ("settle",),
            ("edit", "weight", 2, 0, 533),
            ("reload", False),
            ("settle",),
        ],
    )


def test_unproven_server_that_could_not_bring_its_service_back_is_not_waited_for() -> None:
    replay(
        20261206004532,
        [
            ("order", "disable", -1, 4, -1, 1500.0, True),
            ("crash", "overrides", 0.9),
            ("outcome", 1, "tcp", "bad"),
            ("outcome", 1, "tcp", "said_down"),
            ("refuse", "add_server", 5),
            ("outcome", 1, "tcp", "refused"),
            ("round", 4),
        ],
    )


def test_server_that_a_reload_drops_while_the_fallback_serves_may_go_though_the_brake_kept_it() -> None:
    replay(
        20261310003957,
        [
            ("weather", 143, 3, "refused"),
            ("cut", 0),
            ("edit", "drop_server", 0, 5, 10),
            ("edit", "server", 0, 1, 621),
            ("round", 4),
            ("weather", 255, 7, "timeout"),
            ("outcome", 6, "tcp", "none"),
            ("round", 2),
            ("reload", False),
            ("round", 2),
            ("weather", 143, 3, "pass"),
            ("round", 4),
        ],
    )
