"""Everything that is fuzzed, by name."""

import functools

from tests.fuzz import answers_http, answers_http2, answers_ours, answers_plain, answers_tls
from tests.fuzz.subject import Subject


@functools.cache
def subjects() -> dict[str, Subject]:
    """Return all subjects, in the order of a report."""
    found = (
        *answers_http.SUBJECTS,
        *answers_http2.SUBJECTS,
        *answers_plain.SUBJECTS,
        *answers_tls.subjects(),
        *answers_ours.subjects(),
    )
    return {subject.name: subject for subject in found}
