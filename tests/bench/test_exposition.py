import math

import pytest

from bench.exposition import Buckets, Scrape

TEXT = """\
# HELP lag_seconds How late.
# TYPE lag_seconds histogram
lag_seconds_bucket{le="0.05"} 980.0
lag_seconds_bucket{le="0.1"} 990.0
lag_seconds_bucket{le="+Inf"} 1000.0
servers{service="a b",state="up"} 7
servers{service="c\\"d",state="up"} 2
servers{service="c\\"d",state="down"} 1
skipped_total 3.0
"""


def test_samples_are_added_up_by_label() -> None:
    scrape = Scrape.parse(TEXT)
    assert scrape.sum("servers", state="up") == 9
    assert scrape.sum("servers") == 10
    assert scrape.sum("skipped_total") == 3
    assert scrape.sum("absent") == 0
    assert scrape.values("servers", state="down") == [1]


def test_what_is_no_sample_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a sample"):
        Scrape.parse("Traceback (most recent call last):")


@pytest.mark.parametrize(("share", "bound"), [(0.5, 0.05), (0.98, 0.05), (0.99, 0.1), (0.991, math.inf)])
def test_histogram_bounds_a_quantile_by_a_bucket(share: float, bound: float) -> None:
    assert Scrape.parse(TEXT).buckets("lag_seconds").bound(share) == bound


def test_whole_count_is_not_lost_to_rounding() -> None:
    assert Buckets({1.0: 999, math.inf: 1000}).bound(0.999) == 1.0


def test_histogram_since_an_earlier_scrape() -> None:
    before = Buckets({0.05: 900, math.inf: 1000})
    after = Buckets({0.05: 950, math.inf: 1100})
    assert after.since(before) == Buckets({0.05: 50, math.inf: 100})


def test_empty_histogram_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="empty"):
        Buckets({0.05: 0, math.inf: 0}).bound(0.99)
