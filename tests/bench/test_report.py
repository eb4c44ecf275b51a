from pathlib import Path

from bench.outcome import Claim, Outcome, Plot, Series, Table, join_plots
from bench.report import markdown

MET = Claim("CPU", "60 µs", "peer: 70 µs", "<= 1 x peer", holds=True)
MISSED = MET._replace(what="memory", holds=False)
PLAIN = MET._replace(what="removals", target="", holds=None)


def test_summary_says_which_targets_are_met() -> None:
    text = markdown({"a": Outcome([MET, MISSED, PLAIN])}, {}, [], is_quick=False)
    assert "| CPU | 60 µs | peer: 70 µs | <= 1 x peer | met |" in text
    assert "| memory | 60 µs | peer: 70 µs | <= 1 x peer | **missed** |" in text
    assert "| removals | 60 µs | peer: 70 µs |  |  |" in text


def test_what_was_not_measured_is_told() -> None:
    text = markdown({}, {"a reload": "MeasurementError: it has ended:\nTraceback ..."}, [], is_quick=True)
    assert "- a reload: MeasurementError: it has ended:\n" in text
    assert "Traceback" not in text
    assert "make bench QUICK=1" in text


def test_details_and_pictures_follow() -> None:
    table = Table("Parts", ("a|b", "c"), [("1", "2")])
    text = markdown({"a start": Outcome(tables=[table])}, {}, [Path("x/cpu.png")], is_quick=False)
    assert "## a start\n\n**Parts**\n\n| a\\|b | c |\n| --- | --- |\n| 1 | 2 |\n" in text
    assert "![cpu](cpu.png)" in text


def test_plots_of_one_name_become_one() -> None:
    http = Plot("cpu", "CPU", "", "µs", (Series("own", ("HTTP",), (1.0,), (0.5,), (2.0,)),))
    tcp = http._replace(series=(Series("own", ("TCP",), (3.0,), (2.5,), (4.0,)), Series("peer", ("TCP",), (5.0,))))
    (joined,) = join_plots([http, tcp])
    assert joined.series == (
        Series("own", ("HTTP", "TCP"), (1.0, 3.0), (0.5, 2.5), (2.0, 4.0)),
        Series("peer", ("TCP",), (5.0,)),
    )
