"""How orders are read from a request's query."""

import pytest
from multidict import MultiDict

from lvs_healthd.api.orders import override_request


@pytest.mark.parametrize("name", ["until", "deadline"])
@pytest.mark.parametrize("moment", ["nan", "inf", "-inf", "1e20", "-1", "0"])
def test_moment_that_is_no_unix_time_is_refused(name: str, moment: str) -> None:
    """It could not be told in the log, and would be kept in the file as "for ever"."""
    with pytest.raises(ValueError, match=f"{name} is a Unix time, not {float(moment):g}".replace("+", "[+]")):
        override_request(MultiDict({"verb": "drain", "service": "web", name: moment}))


def test_moment_is_taken() -> None:
    asked = override_request(MultiDict(verb="drain", service="web", until="1700000000.5"))
    assert asked.until == 1_700_000_000.5
