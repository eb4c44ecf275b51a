"""An apt source for another suite is a copy of the machine's own entry, in whatever form, except for the suite."""

from lab.apt_source import of_lines, of_stanzas

STANZAS = """\
# a comment of its own

Types: deb
# in the middle
URIs: file:/elsewhere
Suites: bookworm
Components: main

Types: deb deb-src
URIs: file:/mirror/debian-security
Suites: bookworm-security
Components: main
Signed-By: /keys/security.gpg

types: deb deb-src
URIs: file:/mirror/first
 file:/mirror/debian/
Suites: bookworm
 bookworm-updates
Components: main contrib
Architectures: amd64 i386
Check-Valid-Until: no
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----
"""


def test_stanza_keeps_mirrors_keys_and_options() -> None:
    assert of_stanzas(STANZAS, "file:/mirror/debian/", "trixie") == (
        "Types: deb\nSuites: trixie\nComponents: main\nTargets: Packages\n"
        "URIs: file:/mirror/first\n file:/mirror/debian/\nCheck-Valid-Until: no\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----\n"
    )


def test_stanza_of_a_mirror_that_is_not_there() -> None:
    assert of_stanzas(STANZAS, "file:/mirror", "trixie") == ""


LINES = """\
# deb file:/mirror/debian bookworm main
deb-src file:/mirror/debian bookworm main
deb file:/mirror/debian-security bookworm-security main
deb [ signed-by=/keys/debian.gpg arch=amd64 ]  file:/mirror/debian/ bookworm main contrib # ours
"""


def test_line_keeps_mirror_and_options() -> None:
    expected = "deb [ signed-by=/keys/debian.gpg arch=amd64 ]  file:/mirror/debian/ sid main\n"
    assert of_lines(LINES, "file:/mirror/debian", "sid") == expected
    assert of_lines("deb\tfile:/mirror bookworm main\n", "file:/mirror/", "sid") == "deb file:/mirror sid main\n"


def test_line_of_a_mirror_that_is_not_there() -> None:
    assert of_lines(LINES, "file:/mirror", "sid") == ""
