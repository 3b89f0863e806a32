"""Print the almanac's entry for a day: how much of the year is gone, and what the day is known for."""

import csv
import sys
from datetime import date

__version__ = "0.3.0"

# The recipe puts the path of the almanac-data package here.
DATA = "@ALMANAC_DATA@"


def names(day: date) -> list[str]:
    """Look the day up in the table of days."""
    with open(DATA, encoding="utf-8", newline="") as file:
        return [row["name"] for row in csv.DictReader(file) if (int(row["month"]), int(row["day"])) == (day.month, day.day)]


def entry(day: date) -> str:
    """Say which day of its year a date is, what share of the year has passed, and the day's name."""
    start, end = date(day.year, 1, 1), date(day.year + 1, 1, 1)
    share = (day - start) / (end - start)
    text = f"{day.isoformat()}: day {(day - start).days + 1}, {share:.1%} of the year gone"
    return ", ".join([text, *names(day)])


def main() -> int:
    """Read the command line."""
    if sys.argv[1:] == ["--version"]:
        print(f"almanac {__version__}")
        return 0
    if len(sys.argv) != 2:
        print("usage: almanac YYYY-MM-DD | almanac --version", file=sys.stderr)
        return 2
    print(entry(date.fromisoformat(sys.argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
