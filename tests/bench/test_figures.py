import pytest

from bench.figures import figure, number, quantile, straight_line


def test_figure_quotes_the_median_with_its_spread() -> None:
    assert figure(71.0, 64.0, 68.0).text("µs") == "68.0 µs (64.0-71.0)"


def test_single_run_has_no_spread() -> None:
    assert figure(0.5).text("s") == "0.50 s"


def test_ratio_is_of_pairs_and_not_of_medians() -> None:
    assert figure(10.0, 40.0, 30.0).over(figure(20.0, 20.0, 30.0)).values == (0.5, 2.0, 1.0)


def test_runs_that_do_not_pair_up_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="argument"):
        figure(1.0, 2.0).over(figure(1.0))


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.0123, "0.012"), (0.5, "0.50"), (9.876, "9.88"), (12.34, "12.3"), (1234.5, "1234")]
)
def test_numbers_have_three_figures(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100), (0.001, 1)])
def test_quantile_is_a_value_that_was_seen(share: float, value: int) -> None:
    assert quantile(list(range(100, 0, -1)), share) == value


def test_quantile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_line_through_points_on_a_line_is_straight() -> None:
    line = straight_line([(1000, 30.0), (5000, 50.0), (10_000, 75.0)])
    assert line.slope == pytest.approx(0.005)
    assert line.intercept == pytest.approx(25.0)
    assert line.worst_share == pytest.approx(0.0)


def test_bend_shows_as_a_distance_from_the_line() -> None:
    assert straight_line([(1, 1.0), (2, 1.0), (3, 10.0)]).worst_share > 0.2
