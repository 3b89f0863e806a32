"""The page on scheduling says what the scheduler does now."""

from __future__ import annotations

from tests.bench.schedules import BEGIN, COPIES, END, PAGE, RUNNERS, copied, rows, with_table


def table() -> list[str]:
    made = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    return [line for line in made.splitlines() if line.startswith("| ") and "---" not in line][1:]


def test_the_smallest_table_is_what_the_code_gives() -> None:
    assert table()[: len(RUNNERS)] == [row.line() for row in rows(1)], "run python -m tests.bench.schedules"


def test_the_page_has_every_size() -> None:
    one = len(copied(1))
    sizes = [f"{one * copies:,}" for copies in COPIES for _ in RUNNERS]
    assert [line.split(" | ")[0].removeprefix("| ") for line in table()] == sizes
    assert [line.split(" | ")[1] for line in table()] == [str(count) for _ in COPIES for count in RUNNERS]


def test_no_schedule_beats_the_bound() -> None:
    for row in rows(1, (1, 5)):
        assert row.left == 0 or row.runners == 1
        assert row.left or row.bound <= row.seconds < row.waves


def test_copies_need_nothing_of_each_other() -> None:
    graph = copied(3)
    assert len(graph) == 3 * len(copied(1))
    for h, work in graph.items():
        assert all(need in graph and need.rpartition("-")[2] == h.rpartition("-")[2] for need in work.needs)


def test_only_the_table_is_written() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    made = with_table(page, ["| 1 |"])
    assert made.startswith(f"before\n{BEGIN}\n\n| specs |")
    assert made.endswith(f"| 1 |\n\n{END}\nafter\n")
    assert with_table(made, ["| 1 |"]) == made
