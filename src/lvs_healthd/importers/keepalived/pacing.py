"""Reads the keywords that virtual servers, real servers and checks share: when a check runs."""

from lvs_healthd.importers.keepalived.blocks import Node
from lvs_healthd.importers.keepalived.records import Pace
from lvs_healthd.importers.keepalived.told import Told


def read_pace(told: Told, node: Node, pace: Pace, *, is_check: bool = False) -> bool:
    """Read one keyword into `pace`. Returns False if the keyword is another one.

    is_check: whether it is a check's own, which may be without a retry.
    """
    if node.keyword == "delay_loop":
        pace.delay_loop = _or(told.time(node, 1), pace.delay_loop)
    elif node.keyword == "connect_timeout":
        pace.connect_timeout = _or(told.time(node, 1), pace.connect_timeout)
    elif node.keyword == "delay_before_retry":
        pace.delay_before_retry = _or(told.time(node), pace.delay_before_retry)
    elif node.keyword in {"retry", "nb_get_retry"}:
        pace.retry = _or(told.number(node, 0 if is_check else 1, is_strict=not is_check), pace.retry)
    elif node.keyword == "warmup":
        if told.time(node) is not None:
            told.noted(node, "first probes are spread over the interval by themselves")
    elif node.keyword == "log_all_failures":
        told.noted(node, "`lvs-healthd why` shows every outcome")
    else:
        return False
    return True


def _or(value: int | None, before: int | None) -> int | None:
    return before if value is None else value
