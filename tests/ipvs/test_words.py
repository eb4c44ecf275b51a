"""Every word of the configuration has its number, and every number its word."""

from lvs_healthd.config.basics import Protocol
from lvs_healthd.config.model import Forward, TunChecksum, TunType
from lvs_healthd.config.schema import SCHEDULER_FLAGS as CONFIGURED_FLAGS
from lvs_healthd.ipvs.words import (
    CHECKSUM_NAMES,
    CHECKSUM_OPTIONS,
    CHECKSUMS,
    METHOD_NAMES,
    METHOD_OPTIONS,
    METHODS,
    PROTOCOL_NAMES,
    PROTOCOL_OPTIONS,
    PROTOCOLS,
    SCHEDULER_FLAGS,
    SVC_F_ONEPACKET,
    SVC_F_SCHED1,
    SVC_F_SCHED2,
    SVC_F_SCHED3,
    TUNNEL_NAMES,
    TUNNELS,
    ForwardingMethod,
    flags_of_names,
    names_of_flags,
    plain_flag_names,
)


def test_words_of_the_configuration_are_those_of_the_table() -> None:
    assert {*Forward} - {Forward.FULLNAT} == METHODS.keys() - {"local", "bypass"}
    assert {*TunType} == TUNNELS.keys()
    assert {*TunChecksum} == CHECKSUMS.keys()
    assert {*Protocol} == PROTOCOLS.keys()
    assert {*CONFIGURED_FLAGS} == SCHEDULER_FLAGS.keys()


def test_each_number_has_one_word() -> None:
    for words, names in (
        (METHODS, METHOD_NAMES),
        (TUNNELS, TUNNEL_NAMES),
        (CHECKSUMS, CHECKSUM_NAMES),
        (PROTOCOLS, PROTOCOL_NAMES),
    ):
        assert {number: word for word, number in words.items()} == names
        assert len(words) == len(names)
    assert METHOD_NAMES.keys() == {*ForwardingMethod}


def test_what_can_be_configured_has_an_option_of_ipvsadm() -> None:
    assert {METHODS[each] for each in Forward if each is not Forward.FULLNAT} == METHOD_OPTIONS.keys()
    assert {CHECKSUMS[each] for each in TunChecksum} == CHECKSUM_OPTIONS.keys()
    assert {PROTOCOLS[each] for each in Protocol} == PROTOCOL_OPTIONS.keys()


def test_flags_go_by_the_scheduler() -> None:
    both = SVC_F_SCHED1 | SVC_F_SCHED2
    assert names_of_flags("sh", both) == ["sh-fallback", "sh-port"]
    assert names_of_flags("mh", both) == ["mh-fallback", "mh-port"]
    assert names_of_flags("wrr", both | SVC_F_SCHED3) == ["flag-1", "flag-2", "flag-3"]
    assert flags_of_names(["mh-port", "flag-3"]) == SVC_F_SCHED2 | SVC_F_SCHED3


def test_plain_names_leave_nothing_out() -> None:
    assert plain_flag_names(0) == []
    assert plain_flag_names(SVC_F_ONEPACKET | SVC_F_SCHED2) == ["ops", "flag-2"]
    assert plain_flag_names(SVC_F_SCHED1 | 0x4000) == ["flag-1", "0x4000"]
