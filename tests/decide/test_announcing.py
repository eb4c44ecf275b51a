"""Whether an address is announced, by what its services say, and how long that takes."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.basics import AnnounceWhen
from lvs_healthd.decide.announcing import Announcement, Finding, Hearing, Say, combined

MAY, MAY_NOT, UNKNOWN = (
    Finding(True, "web: enough real servers may serve"),
    Finding(False, "web: no real server may serve"),
    Finding(None, "web: its servers are not proven yet"),
)
WITHDRAW_S, ANNOUNCE_S, STEP_S = 2.0, 30.0, 0.25


class Story:
    def __init__(self) -> None:
        self.announcement = Announcement()
        self.now = 100.0
        self.changes: list[tuple[float, bool]] = []

    def look(self, finding: Finding) -> None:
        it = self.announcement
        before = it.wanted
        is_changed = it.look(finding, self.now, announce_after_s=ANNOUNCE_S, withdraw_after_s=WITHDRAW_S)
        assert is_changed is (it.wanted is not before)
        if is_changed:
            assert it.wanted is not None
            assert (it.since, it.reason, it.pending) == (self.now, finding.why, "")
            self.changes.append((self.now, it.wanted))

    def goes_on(self, finding: Finding, for_s: float) -> bool | None:
        """Let the findings be like this for some seconds, looked at four times a second."""
        end = self.now + for_s
        while self.now < end:
            self.look(finding)
            self.now += STEP_S
        return self.announcement.wanted


def test_nothing_is_wanted_until_something_is_known() -> None:
    story = Story()
    assert story.goes_on(UNKNOWN, 60.0) is None
    assert (story.announcement.reason, story.announcement.since) == (UNKNOWN.why, None)
    assert story.goes_on(MAY, STEP_S) is True, "a director that starts need not wait"


def test_director_that_starts_without_servers_withdraws_after_the_usual_time() -> None:
    story = Story()
    assert story.goes_on(MAY_NOT, WITHDRAW_S) is None
    assert story.goes_on(MAY_NOT, STEP_S) is False


def test_fault_must_last_and_being_well_must_last_longer() -> None:
    story = Story()
    story.goes_on(MAY, 1.0)
    assert story.goes_on(MAY_NOT, WITHDRAW_S) is True
    assert story.announcement.pending == MAY_NOT.why
    assert story.goes_on(MAY_NOT, STEP_S) is False
    assert story.goes_on(MAY, ANNOUNCE_S) is False
    assert story.announcement.pending == MAY.why
    assert story.goes_on(MAY, STEP_S) is True


@pytest.mark.parametrize("between", [MAY, UNKNOWN])
def test_flap_or_doubt_begins_the_wait_again(between: Finding) -> None:
    story = Story()
    story.goes_on(MAY, 1.0)
    for _ in range(20):
        assert story.goes_on(MAY_NOT, WITHDRAW_S) is True
        assert story.goes_on(between, STEP_S) is True
        assert story.announcement.pending == ""


FINDINGS = st.sampled_from([MAY, MAY_NOT, UNKNOWN])


@given(st.lists(st.tuples(FINDINGS, st.floats(0.01, 40.0)), max_size=60))
def test_address_follows_what_lasts_and_never_flaps_faster_than_the_waits(looks: list[tuple[Finding, float]]) -> None:
    """What is wanted is compared after each look with what follows from the looks before it."""
    story, seen = Story(), list[tuple[float, bool | None]]()
    for finding, pause_s in looks:
        before = story.announcement.wanted
        seen.append((story.now, finding.may))
        story.look(finding)
        assert story.announcement.wanted is expected(before, seen, story.changes)
        story.now += pause_s
    for (earlier, _), (later, wanted) in itertools.pairwise(story.changes):
        assert later - earlier >= (ANNOUNCE_S if wanted else WITHDRAW_S)
    values = [wanted for _, wanted in story.changes]
    assert all(one is not other for one, other in itertools.pairwise(values))


def expected(
    before: bool | None, seen: list[tuple[float, bool | None]], changes: Iterable[tuple[float, bool]]
) -> bool | None:
    """Return what is to be wanted after the last look: what all looks of the wait said, if they say the same."""
    now, last = seen[-1]
    if last is None or last is before:
        return before
    same_since = now
    for at, may in reversed(seen):
        if may is not last:
            break
        same_since = at
    wait_s = WITHDRAW_S if not last else ANNOUNCE_S if [*changes] and before is not None else 0.0
    return last if now - same_since >= wait_s else before


SAYS = st.lists(st.builds(Say, st.sampled_from([True, False, None]), st.just("web"), st.just("so")), max_size=8)


def heard_together(says: list[Say], when: AnnounceWhen) -> Finding:
    """Let services be heard until that is enough. To hear the others too must change nothing but the words."""
    first, whole = Hearing(when), Hearing(when)
    any(first.hear(say) for say in says)
    for say in says:
        whole.hear(say)
    assert first.finding.may is whole.finding.may
    return first.finding


@given(SAYS)
def test_any_announces_iff_one_may_and_withdraws_iff_none_may(says: list[Say]) -> None:
    found = heard_together(says, AnnounceWhen.ANY)
    assert (found.may is True) is any(say.may is True for say in says)
    assert (found.may is False) is (bool(says) and all(say.may is False for say in says))
    assert found.why


@given(SAYS)
def test_all_announces_iff_all_may_and_withdraws_iff_one_may_not(says: list[Say]) -> None:
    found = heard_together(says, AnnounceWhen.ALL)
    assert (found.may is True) is (bool(says) and all(say.may is True for say in says))
    assert (found.may is False) is any(say.may is False for say in says)


def test_reason_names_those_who_decide_and_not_too_many() -> None:
    says = [Say(False, f"s{number}", "no real server may serve") for number in range(5)]
    assert heard_together(says, AnnounceWhen.ANY).why == (
        "s0: no real server may serve; s1: no real server may serve; s2: no real server may serve; and 2 more"
    )
    assert heard_together([*says, Say(True, "dns", "it fails open")], AnnounceWhen.ANY).why == "dns: it fails open"


def test_nobody_is_heard_after_the_first_one_that_decides() -> None:
    well, dead = Say(True, "dns", "it fails open"), Say(False, "web", "no real server may serve")
    for when, decisive, other in ((AnnounceWhen.ANY, well, dead), (AnnounceWhen.ALL, dead, well)):
        hearing = Hearing(when)
        assert [hearing.hear(each) for each in (other, Say(None, "x", "unproven"), decisive)] == [False, False, True]
        assert hearing.finding == Finding(decisive.may, f"{decisive.service}: {decisive.why}")


def test_director_goes_on_announcing_if_nobody_else_may_serve_either() -> None:
    kept = combined(MAY_NOT, "", {"b": False, "c": False})
    assert kept == Finding(None, "web: no real server may serve; nor may any on b, c, so clients are refused here")
    assert "on b, c, d and 1 more, so" in combined(MAY_NOT, "", dict.fromkeys("bcde", False)).why


FINDINGS = st.sampled_from([MAY, MAY_NOT, UNKNOWN])
OTHERS = st.dictionaries(st.sampled_from("bcd"), st.sampled_from([True, False, None]))


@given(FINDINGS, st.sampled_from(["", "eth1 has no carrier"]), OTHERS)
def test_others_withdraw_nothing_announce_nothing_and_keep_only_what_nobody_may_serve(
    own: Finding, local: str, others: dict[str, bool | None]
) -> None:
    found = combined(own, local, others)
    if own is MAY_NOT and not local and others and set(others.values()) == {False}:
        assert found.may is None
    else:
        assert found is own


DEATHS = st.lists(st.floats(1.0, 20.0), min_size=2, max_size=4)


@given(DEATHS, st.floats(0.0, WITHDRAW_S - 2 * STEP_S), st.sets(st.integers(0, 3), max_size=1))
def test_when_all_servers_die_one_director_that_is_well_goes_on_announcing(
    deaths: list[float], delay_s: float, faulty: set[int]
) -> None:
    """Every director loses its servers at another moment, and hears of the others late. One has a fault of its own."""
    faulty &= {*range(len(deaths))}
    stories = [Story() for _ in deaths]
    began = stories[0].now
    well = [index for index in range(len(deaths)) if index not in faulty]
    while stories[0].now < began + 60.0:
        past = stories[0].now - began
        for index, story in enumerate(stories):
            own = MAY if past < deaths[index] else MAY_NOT
            local = "eth1 has no carrier" if index in faulty else ""
            others = {
                str(each): each not in faulty and past - delay_s < deaths[each]
                for each in range(len(deaths))
                if each != index
            }
            story.look(combined(MAY_NOT if local else own, local, others))
            story.now += STEP_S
    assert not any(stories[index].announcement.wanted for index in faulty)
    if len(well) > 1:
        assert any(stories[index].announcement.wanted for index in well)
