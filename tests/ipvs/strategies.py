"""Hypothesis strategies for tests of the table."""

import socket

from hypothesis import strategies as st

from lvs_healthd.ipvs.records import (
    DestinationKey,
    DestinationRecord,
    Operation,
    ServiceEntry,
    ServiceKey,
    ServiceRecord,
    Verb,
)
from lvs_healthd.ipvs.words import AF_INET, AF_INET6, ForwardingMethod
from tests.ipvs.tables import WORLD_KEYS, WORLD_SERVERS, WORLD_SERVICES, entry, table

# Everything the codec can express

_v4_addresses = st.binary(min_size=4, max_size=4).map(lambda raw: socket.inet_ntop(AF_INET, raw))
_v6_addresses = st.binary(min_size=16, max_size=16).map(lambda raw: socket.inet_ntop(AF_INET6, raw))
_ports = st.integers(0, 65535)
_u32 = st.integers(0, 2**32 - 1)
_names = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=15)

service_keys = st.one_of(
    st.builds(ServiceKey, st.just(AF_INET), st.integers(0, 255), _v4_addresses, _ports),
    st.builds(ServiceKey, st.just(AF_INET6), st.integers(0, 255), _v6_addresses, _ports),
    st.builds(ServiceKey, st.sampled_from([AF_INET, AF_INET6]), fwmark=st.integers(1, 2**32 - 1)),
)


def _services_of(key: ServiceKey) -> st.SearchStrategy[ServiceRecord]:
    return st.builds(
        ServiceRecord,
        st.just(key),
        scheduler=_names,
        flags=_u32.map(lambda flags: flags & ~2),  # records do not hold the kernel's own bit
        timeout=_u32,
        netmask=st.integers(0, 128) if key.family == AF_INET6 else st.integers(0, 32),
        persistence_engine=st.one_of(st.just(""), _names),
    )


services = service_keys.flatmap(_services_of)
destination_keys = st.one_of(
    st.builds(DestinationKey, st.just(AF_INET), _v4_addresses, _ports),
    st.builds(DestinationKey, st.just(AF_INET6), _v6_addresses, _ports),
)
destinations = st.builds(
    DestinationRecord,
    destination_keys,
    forward=st.sampled_from(list(ForwardingMethod)),
    weight=_u32,
    upper_threshold=_u32,
    lower_threshold=_u32,
    tunnel_type=st.integers(0, 255),
    tunnel_port=_ports,
    tunnel_flags=st.integers(0, 65535),
)

# A small world, in which random operations hit the same records again and again

world_operations = st.one_of(
    st.builds(
        Operation,
        st.sampled_from([Verb.ADD_SERVICE, Verb.ADD_SERVICE, Verb.SET_SERVICE, Verb.DELETE_SERVICE]),
        st.sampled_from(WORLD_SERVICES),
    ),
    st.builds(
        Operation,
        st.sampled_from([Verb.ADD_SERVER, Verb.ADD_SERVER, Verb.SET_SERVER, Verb.DELETE_SERVER]),
        st.sampled_from(WORLD_SERVICES),
        st.sampled_from(WORLD_SERVERS),
    ),
)


def _world_entries(key: ServiceKey) -> st.SearchStrategy[ServiceEntry]:
    records = st.sampled_from([record for record in WORLD_SERVICES if record.key == key])
    chosen = st.lists(st.sampled_from(WORLD_SERVERS), max_size=4, unique_by=lambda one: one.key)
    return st.builds(lambda record, servers: entry(record, *servers), records, chosen)


world_tables = st.lists(st.sampled_from(WORLD_KEYS), unique=True, max_size=5).flatmap(
    lambda keys: st.tuples(*[_world_entries(key) for key in keys]).map(lambda entries: table(*entries))
)
