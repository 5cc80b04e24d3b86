"""The parts of docs/BENCHMARKS.md that are made by these scripts."""

from programs import ROOT

PATH = ROOT / "docs" / "BENCHMARKS.md"
DRAWINGS = ROOT / "docs" / "bench"


def replace(part: str, text: str) -> None:
    """Puts `text` between the markers of `part`."""
    begin, end = f"<!-- {part} -->", f"<!-- /{part} -->"
    whole = PATH.read_text()
    before, found, rest = whole.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise SystemExit(f"{PATH} has no place between {begin} and {end}")
    PATH.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")
