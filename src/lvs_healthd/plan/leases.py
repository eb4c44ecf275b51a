"""Gives out numbers from a range, such as firewall marks, so that each holder keeps its own. It is pure.

A number that was given back rests before somebody else gets it, because the kernel may still know it as the former
holder's. A holder that comes back meanwhile gets its number again.

Times are Unix time, seconds, because leases survive a restart.
"""

from collections.abc import Callable, Iterable

from lvs_healthd.state.file import Lease


class Leases:
    """The numbers of one range that are held or rest.

    numbers: the range.
    rest_s: how long a number rests, seconds.
    """

    def __init__(self, numbers: range, rest_s: float) -> None:
        self.numbers = numbers
        self.rest_s = rest_s
        self._held: dict[str, int] = {}
        self._resting: dict[int, tuple[str, float]] = {}
        """Numbers that were given back, with their last holders and the time until which they rest."""
        self._next = 0
        """Where in the range to look for the next number, so that a number is not given out again soon."""
        self._saved: tuple[Lease, ...] | None = ()

    def copy(self) -> "Leases":
        """Return leases of their own that are the same now."""
        other = Leases(self.numbers, self.rest_s)
        other._held, other._resting, other._next = dict(self._held), dict(self._resting), self._next
        return other

    def of(self, holder: str) -> int | None:
        """Return a holder's number; None if it has none, because none was free."""
        return self._held.get(holder)

    def restore(self, leases: Iterable[Lease]) -> None:
        """Take over the leases from before a restart."""
        for lease in leases:
            if lease.until:
                self._resting[lease.number] = (lease.holder, lease.until)
            else:
                self._held[lease.holder] = lease.number
        self._saved = None

    def hold(
        self,
        holders: Iterable[str],
        now: float,
        *,
        is_free: Callable[[str, int], bool] = lambda _holder, _number: True,
        preferred: Callable[[str], int | None] = lambda _holder: None,
    ) -> None:
        """Let exactly these holders have a number, as far as there are enough.

        is_free: whether a number may be given to a holder. A number that may not be kept is taken away.
        preferred: the number that a new holder had better get, if it is free; None for any.
        """
        wanted = dict.fromkeys(holders)
        for holder, number in [*self._held.items()]:
            if holder not in wanted or number not in self.numbers or not is_free(holder, number):
                self.give_back(holder, now)
        # The clock may have been set back, so nothing rests longer than from now on.
        rested = [each for each, (_, until) in self._resting.items() if not now < until <= now + self.rest_s]
        for number in rested:
            del self._resting[number]
            self._saved = None
        former = {holder: number for number, (holder, _) in self._resting.items()}
        taken = set(self._held.values())
        for holder in wanted:
            if holder in self._held:
                continue
            hoped = (former.get(holder), preferred(holder))
            found = next(
                (each for each in hoped if each is not None and self._is_right(holder, each, taken, is_free)), None
            )
            if found is None:
                found = self._search(holder, taken, is_free)
            if found is not None:
                self._give(holder, found)
                taken.add(found)

    def renew(self, holder: str, now: float) -> int | None:
        """Give a holder another number; its own rests. None if no number is free."""
        self.give_back(holder, now)
        number = self._search(holder, set(self._held.values()), lambda _, number: number not in self._resting)
        if number is not None:
            self._give(holder, number)
        return number

    def give_back(self, holder: str, now: float) -> None:
        """Take a holder's number, which rests from now on."""
        number = self._held.pop(holder, None)
        if number is not None:
            self._resting[number] = (holder, now + self.rest_s)
            self._saved = None

    def saved(self) -> tuple[Lease, ...]:
        """Return the leases for the state file. While nothing changes, this is always the same object."""
        if self._saved is None:
            held = [Lease(holder, number) for holder, number in self._held.items()]
            resting = [Lease(holder, number, until) for number, (holder, until) in self._resting.items()]
            self._saved = (*held, *resting)
        return self._saved

    def _give(self, holder: str, number: int) -> None:
        self._held[holder] = number
        self._resting.pop(number, None)
        self._saved = None

    def _is_right(self, holder: str, number: int, taken: set[int], is_free: Callable[[str, int], bool]) -> bool:
        last = self._resting.get(number)
        is_rested = last is None or last[0] == holder
        return number in self.numbers and number not in taken and is_rested and is_free(holder, number)

    def _search(self, holder: str, taken: set[int], is_free: Callable[[str, int], bool]) -> int | None:
        size = len(self.numbers)
        for step in range(size):
            at = (self._next + step) % size
            if self._is_right(holder, self.numbers[at], taken, is_free):
                self._next = at + 1
                return self.numbers[at]
        return None
