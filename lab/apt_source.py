"""Writes an apt source for another suite of the Debian mirror that this machine uses, with the machine's own keyring.

    apt_source.py SUITE FOLDER

The source is a copy of the machine's own entry for Debian, with SUITE in place of its suites. The mirror, the keyring
and every other option stay as somebody has chosen them. The source is written to FOLDER, as debian.sources or
debian.list. The exit status is 1 when apt knows no mirror of Debian, perhaps because its package lists are missing.
This program uses only the standard library, because the machine's Python runs it.
"""

import re
import subprocess
import sys
from pathlib import Path

_OURS = frozenset({"types", "suites", "components", "enabled", "architectures", "targets"})
"""The fields of an entry that are not copied, because this program sets them or leaves them out."""

_LINE = re.compile(r"deb\s+(?P<options>\[[^]]*\]\s+)?(?P<uri>\S+)\s")


def main(suite: str, folder: Path) -> int:
    """Write the source for `suite` into `folder`, and return the exit status."""
    # apt says which entry is Debian's archive. The names of suites do not, because third parties use the same ones.
    words = "$(ORIGIN)\t$(LABEL)\t$(SOURCESENTRY)\t$(REPO_URI)"
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", words, "Created-By: Packages"],
        check=True,
        capture_output=True,
        text=True,
    )
    for target in targets.stdout.splitlines():
        origin, label, entry, uri = target.split("\t")
        if (origin, label) != ("Debian", "Debian"):
            continue
        file = Path(entry.rpartition(":")[0])
        text = file.read_text(encoding="utf-8")
        is_deb822 = file.suffix == ".sources"
        source = (of_stanzas if is_deb822 else of_lines)(text, uri, suite)
        if source:
            (folder / ("debian.sources" if is_deb822 else "debian.list")).write_text(source, encoding="utf-8")
            return 0
    return 1


def of_stanzas(text: str, uri: str, suite: str) -> str:
    """Return the stanza of a .sources file that names `uri`, with another suite; "" if no stanza names it."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        # A field continues on the lines that begin with a blank.
        fields = dict(re.findall(r"^(\S+?):((?:.*)(?:\n[ \t].*)*)", stanza, re.MULTILINE))
        uris = {each.rstrip("/") for name in fields if name.lower() == "uris" for each in fields[name].split()}
        if uri.rstrip("/") in uris:
            kept = {name: value for name, value in fields.items() if name.lower() not in _OURS}
            ours = {"Types": " deb", "Suites": f" {suite}", "Components": " main", "Targets": " Packages"}
            return "".join(f"{name}:{value}\n" for name, value in {**ours, **kept}.items())
    return ""


def of_lines(text: str, uri: str, suite: str) -> str:
    """Return the line of a .list file that names `uri`, with another suite; "" if no line names it."""
    for line in text.splitlines():
        found = _LINE.match(line.strip())
        if found and found["uri"].rstrip("/") == uri.rstrip("/"):
            return f"deb {found['options'] or ''}{found['uri']} {suite} main\n"
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
