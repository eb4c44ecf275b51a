"""Text from outside is safe on a terminal."""

import pytest

from lvs_healthd.runtime.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("status 503, expected 200-299", "status 503, expected 200-299"),
        ("bücher 日本", "bücher 日本"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\r\nb\t\x00\x7f\x9b", "a\\r\\nb\\t\\x00\\x7f\\x9b"),
        ("a\u202eb\udc80", "a\\u202eb\\udc80"),
    ],
)
def test_only_what_is_safe_to_show_stays(text: str, shown: str) -> None:
    assert printable(text) == shown
