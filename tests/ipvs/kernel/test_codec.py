import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.generic.ipvs import ipvsmsg

from lvs_healthd.ipvs.kernel import codec
from lvs_healthd.ipvs.kernel.genetlink import GarbledMessageError, attribute
from lvs_healthd.ipvs.records import DestinationRecord, Operation, ServiceKey, ServiceRecord, Verb
from lvs_healthd.ipvs.words import AF_INET, AF_INET6, SVC_F_HASHED, ForwardingMethod
from tests.ipvs.strategies import destinations, services
from tests.ipvs.tables import DNS, MARK, WEB, server, service

_GENL_HEADER = bytes([0, 1, 0, 0])

# Copied from include/uapi/linux/ip_vs.h, so that the test does not depend on our own numbers.
_COMMANDS = {
    Verb.ADD_SERVICE: 1,
    Verb.SET_SERVICE: 2,
    Verb.DELETE_SERVICE: 3,
    Verb.ADD_SERVER: 5,
    Verb.SET_SERVER: 6,
    Verb.DELETE_SERVER: 7,
}


def oracle(attrs: list[tuple[str, object]]) -> bytes:
    """Encode with pyroute2, without its netlink and generic netlink headers."""
    message = ipvsmsg()
    message["attrs"] = attrs
    message.encode()
    return bytes(message.data[20:])


def oracle_service_key(key: ServiceKey) -> list[tuple[str, object]]:
    family: tuple[str, object] = ("IPVS_SVC_ATTR_AF", key.family)
    if key.fwmark:
        return [family, ("IPVS_SVC_ATTR_FWMARK", key.fwmark)]
    return [
        family,
        ("IPVS_SVC_ATTR_PROTOCOL", key.protocol),
        ("IPVS_SVC_ATTR_ADDR", key.address),
        ("IPVS_SVC_ATTR_PORT", key.port),
    ]


def oracle_service(record: ServiceRecord) -> tuple[str, object]:
    if record.key.family == AF_INET6:
        # pyroute2 encodes every netmask as an IPv4 address. The kernel expects a prefix length in native byte order.
        netmask = str(ipaddress.IPv4Address(struct.pack("=I", record.netmask)))
    else:
        netmask = str(ipaddress.IPv4Network(f"0.0.0.0/{record.netmask}").netmask)
    attrs = [
        *oracle_service_key(record.key),
        ("IPVS_SVC_ATTR_SCHED_NAME", record.scheduler),
        ("IPVS_SVC_ATTR_FLAGS", {"flags": record.flags, "mask": 0xFFFFFFFF}),
        ("IPVS_SVC_ATTR_TIMEOUT", record.timeout),
        ("IPVS_SVC_ATTR_NETMASK", netmask),
    ]
    if record.persistence_engine:
        attrs.append(("IPVS_SVC_ATTR_PE_NAME", record.persistence_engine))
    return "IPVS_CMD_ATTR_SERVICE", {"attrs": attrs}


def oracle_destination(record: DestinationRecord) -> tuple[str, object]:
    # pyroute2 encodes tun_port in native byte order; the kernel expects big-endian.
    swapped_port = struct.unpack("=H", struct.pack(">H", record.tunnel_port))[0]
    return "IPVS_CMD_ATTR_DEST", {
        "attrs": [
            ("IPVS_DEST_ATTR_ADDR", record.key.address),
            ("IPVS_DEST_ATTR_PORT", record.key.port),
            ("IPVS_DEST_ATTR_FWD_METHOD", int(record.forward)),
            ("IPVS_DEST_ATTR_WEIGHT", record.weight),
            ("IPVS_DEST_ATTR_U_THRESH", record.upper_threshold),
            ("IPVS_DEST_ATTR_L_THRESH", record.lower_threshold),
            ("IPVS_DEST_ATTR_ADDR_FAMILY", record.key.family),
            ("IPVS_DEST_ATTR_TUN_TYPE", record.tunnel_type),
            ("IPVS_DEST_ATTR_TUN_PORT", swapped_port),
            ("IPVS_DEST_ATTR_TUN_FLAGS", record.tunnel_flags),
        ]
    }


@given(services, st.sampled_from([Verb.ADD_SERVICE, Verb.SET_SERVICE]))
def test_service_writes_equal_pyroute2s_byte_for_byte(record: ServiceRecord, verb: Verb) -> None:
    assert codec.encode(Operation(verb, record)) == (_COMMANDS[verb], oracle([oracle_service(record)]))


@given(services, destinations, st.sampled_from([Verb.ADD_SERVER, Verb.SET_SERVER]))
def test_server_writes_equal_pyroute2s_byte_for_byte(
    record: ServiceRecord, destination: DestinationRecord, verb: Verb
) -> None:
    key = ("IPVS_CMD_ATTR_SERVICE", {"attrs": oracle_service_key(record.key)})
    expected = oracle([key, oracle_destination(destination)])
    assert codec.encode(Operation(verb, record, destination)) == (_COMMANDS[verb], expected)


@given(services)
def test_a_service_is_deleted_by_its_key_alone(record: ServiceRecord) -> None:
    expected = oracle([("IPVS_CMD_ATTR_SERVICE", {"attrs": oracle_service_key(record.key)})])
    assert codec.encode(Operation(Verb.DELETE_SERVICE, record)) == (3, expected)


@given(services, destinations)
def test_a_server_is_deleted_by_its_key_alone(record: ServiceRecord, destination: DestinationRecord) -> None:
    key = ("IPVS_CMD_ATTR_SERVICE", {"attrs": oracle_service_key(record.key)})
    address = (
        "IPVS_CMD_ATTR_DEST",
        {
            "attrs": [
                ("IPVS_DEST_ATTR_ADDR", destination.key.address),
                ("IPVS_DEST_ATTR_PORT", destination.key.port),
                ("IPVS_DEST_ATTR_ADDR_FAMILY", destination.key.family),
            ]
        },
    )
    assert codec.encode(Operation(Verb.DELETE_SERVER, record, destination)) == (7, oracle([key, address]))


@given(services)
def test_services_survive_the_round_trip(record: ServiceRecord) -> None:
    assert codec.decode_service(_GENL_HEADER + codec.encode_service(record)) == record


@given(destinations)
def test_servers_survive_the_round_trip(record: DestinationRecord) -> None:
    assert codec.decode_destination(_GENL_HEADER + codec.encode_destination(record), AF_INET) == record


@given(st.binary(max_size=200), st.sampled_from([AF_INET, AF_INET6, 99]))
def test_random_bytes_raise_nothing_but_the_one_error(data: bytes, family: int) -> None:
    for decode in (
        codec.decode_service,
        codec.decode_info,
        lambda payload: codec.decode_destination(payload, family),
    ):
        try:
            decode(data)
        except GarbledMessageError:
            continue


@given(services, destinations, st.data())
def test_damaged_messages_raise_nothing_but_the_one_error(
    record: ServiceRecord, destination: DestinationRecord, data: st.DataObject
) -> None:
    for payload in (codec.encode_service(record), codec.encode_destination(destination)):
        damaged = bytearray(_GENL_HEADER + payload)
        for _ in range(data.draw(st.integers(1, 4))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
        for decode in (codec.decode_service, lambda message: codec.decode_destination(message, AF_INET)):
            try:
                decode(cut)
            except GarbledMessageError:
                continue


def test_golden_bytes_of_a_service() -> None:
    command, attributes = codec.encode(
        Operation(Verb.ADD_SERVICE, service(WEB, "rr", flags=1, timeout=300, netmask=24))
    )
    assert command == 1
    assert attributes.hex(" ", 4) == (
        "48000100 06000100 02000000 06000200 06000000 08000300 c0000264 06000400 00500000 "
        "07000600 72720000 0c000700 01000000 ffffffff 08000800 2c010000 08000900 ffffff00"
    )


def test_golden_bytes_of_a_server() -> None:
    destination = server(
        "2001:db8::1", 5, port=8080, forward=ForwardingMethod.TUNNEL, tunnel_type=1, tunnel_port=6080, tunnel_flags=1
    )
    command, attributes = codec.encode(Operation(Verb.ADD_SERVER, service(MARK), destination))
    assert command == 5
    assert attributes.hex(" ", 4) == (
        "14000100 06000100 02000000 08000500 07000000 "
        "60000200 14000100 20010db8 00000000 00000000 00000001 06000200 1f900000 08000300 02000000 08000400 05000000 "
        "08000500 00000000 08000600 00000000 06000b00 0a000000 05000d00 01000000 06000e00 17c00000 06000f00 01000000"
    )


def test_an_ipv6_netmask_is_a_prefix_length_in_native_order() -> None:
    assert bytes.fromhex("08000900 40000000") in codec.encode_service(service(DNS, netmask=64))


def test_a_mask_with_holes_is_kept_as_it_is() -> None:
    odd = service(WEB, netmask=-0xFF00FF00)
    encoded = codec.encode_service(odd)
    assert bytes.fromhex("08000900 ff00ff00") in encoded
    assert codec.decode_service(_GENL_HEADER + encoded) == odd


def test_the_kernels_own_flag_is_not_part_of_a_record() -> None:
    plain = service(WEB, flags=4)
    listed = codec.encode_service(plain).replace(struct.pack("=II", 4, 2**32 - 1), struct.pack("=II", 6, 2**32 - 1))
    assert listed != codec.encode_service(plain)
    assert codec.decode_service(_GENL_HEADER + listed) == plain
    assert codec.encode_service(service(WEB, flags=4 | SVC_F_HASHED)) == codec.encode_service(plain)


def nest(kind: int, *attributes: bytes) -> bytes:
    return _GENL_HEADER + attribute(kind, b"".join(attributes))


def test_unknown_attributes_are_skipped() -> None:
    known = codec.encode_service(service(WEB))[4:]
    assert codec.decode_service(nest(1, attribute(77, b"new"), known, attribute(10, bytes(56)))) == service(WEB)


def test_the_kernels_sixteen_byte_address_union_is_cut_for_ipv4() -> None:
    listed = nest(
        1,
        attribute(1, struct.pack("=H", AF_INET)),
        attribute(2, struct.pack("=H", 6)),
        attribute(3, bytes([192, 0, 2, 100]) + bytes(12)),
        attribute(4, struct.pack(">H", 80)),
        attribute(6, b"wrr\0"),
    )
    assert codec.decode_service(listed) == service(WEB)


def test_an_old_kernels_server_has_the_services_family_and_no_tunnel() -> None:
    listed = nest(
        2,
        attribute(1, bytes([0x20, 1, 0x0D, 0xB8]) + bytes(11) + b"\1"),
        attribute(2, struct.pack(">H", 80)),
        attribute(3, struct.pack("=I", 0x100)),  # the flags next to the method are masked off
        attribute(4, struct.pack("=I", 3)),
    )
    assert codec.decode_destination(listed, AF_INET6) == server("2001:db8::1", 3)


def test_a_missing_attribute_is_named() -> None:
    with pytest.raises(GarbledMessageError, match="IPVS service without attribute 6"):
        codec.decode_service(_GENL_HEADER + codec.encode_service_key(WEB))


def test_a_short_attribute_is_refused() -> None:
    with pytest.raises(GarbledMessageError, match="IPVS attribute of 1 bytes, expected 2"):
        codec.decode_service(nest(1, attribute(1, b"\2")))


def test_an_unknown_forwarding_method_is_refused() -> None:
    good = codec.encode_destination(server("198.51.100.1", forward=ForwardingMethod.DROUTE))
    bad = good.replace(struct.pack("=HHI", 8, 3, 3), struct.pack("=HHI", 8, 3, 7))
    with pytest.raises(GarbledMessageError, match="7 is not a valid ForwardingMethod"):
        codec.decode_destination(_GENL_HEADER + bad, AF_INET)


def test_info_is_a_line_for_people_without_the_size_that_moves() -> None:
    info = _GENL_HEADER + attribute(1, struct.pack("=I", 0x010201)) + attribute(2, struct.pack("=I", 4096))
    assert codec.decode_info(info) == "IPVS 1.2.1"


@pytest.mark.parametrize("verb", [Verb.ADD_SERVER, Verb.SET_SERVER, Verb.DELETE_SERVER])
def test_a_server_write_without_a_server_is_a_programming_error(verb: Verb) -> None:
    with pytest.raises(ValueError, match="without a destination"):
        codec.encode(Operation(verb, service()))
