"""What the track file is to say, and how long that takes."""

from lvs_healthd.decide.tracking import Finding, Tracking

WELL, FAULT, UNKNOWN = Finding(""), Finding("web: nobody may serve"), Finding("", is_known=False)
AFTER_S, BACK_S = 2.0, 30.0


class Story:
    def __init__(self) -> None:
        self.tracking = Tracking()
        self.now = 100.0

    def goes_on(self, finding: Finding, for_s: float) -> int | None:
        """Let the findings be like this for some seconds, looked at twice a second."""
        end = self.now + for_s
        while self.now < end:
            self.tracking.look(finding, self.now, after_s=AFTER_S, back_s=BACK_S)
            self.now += 0.5
        return self.tracking.value


def test_nothing_is_said_until_something_is_known() -> None:
    story = Story()
    assert story.goes_on(UNKNOWN, 60.0) is None
    assert story.goes_on(WELL, 0.5) == 0, "a director that starts need not wait"


def test_fault_must_last_and_being_well_must_last_longer() -> None:
    story = Story()
    story.goes_on(WELL, 1.0)
    assert story.goes_on(FAULT, AFTER_S) == 0
    assert story.goes_on(FAULT, 0.5) == 1
    assert story.tracking.reason == "web: nobody may serve"
    assert story.goes_on(WELL, BACK_S) == 1
    assert story.goes_on(WELL, 0.5) == 0


def test_flap_begins_the_wait_again() -> None:
    story = Story()
    story.goes_on(WELL, 1.0)
    for _ in range(10):
        assert story.goes_on(FAULT, AFTER_S - 0.5) == 0
        assert story.goes_on(WELL, 0.5) == 0
    story.goes_on(FAULT, AFTER_S + 0.5)
    for _ in range(10):
        assert story.goes_on(WELL, BACK_S - 0.5) == 1
        assert story.goes_on(FAULT, 0.5) == 1


def test_what_is_not_known_changes_nothing_and_begins_the_wait_again() -> None:
    story = Story()
    story.goes_on(WELL, 1.0)
    story.goes_on(FAULT, AFTER_S)
    assert story.goes_on(UNKNOWN, 60.0) == 0
    assert story.goes_on(FAULT, AFTER_S) == 0
    assert story.goes_on(FAULT, 0.5) == 1


def test_reason_of_a_fault_is_the_latest() -> None:
    story = Story()
    story.goes_on(FAULT, AFTER_S + 0.5)
    story.goes_on(Finding("dns: nobody may serve"), 0.5)
    assert story.tracking.reason == "dns: nobody may serve"


def test_no_waits_at_all() -> None:
    tracking = Tracking()
    for value, finding in ((0, WELL), (1, FAULT), (0, WELL)):
        tracking.look(finding, 1.0, after_s=0.0, back_s=0.0)
        assert tracking.value == value
