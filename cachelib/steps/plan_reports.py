"""A plan as a person reads it in a terminal, and on the page of a run: a table, a Gantt chart, and the DAG where it is small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cachelib.model.plan import Action, StackPlan
from cachelib.model.schedule import Costs, Limits, Work
from cachelib.model.text import markdown
from cachelib.steps.picking import Pick
from cachelib.steps.reports import Report, some, step_data
from cachelib.steps.scheduling import make_schedule
from cachelib.steps.timing import bound, job_per_root, level_waves

#: A DAG of more specs than this is no picture, but a tangle.
DRAWN = 40
#: A chart of more bars than this is not looked at either (and a summary may have 1 MiB).
BARS = 400


def plan_report(plans: Sequence[StackPlan], rejected: Report, where: str) -> Report:
    """What is to be built and why, by whom, and how long that is thought to take; it is in the folder `where`."""
    lines = list(rejected.lines)
    for plan in plans:
        place = plan.schedule.place()
        for item in plan.of(Action.BUILD):
            worker, slot = place[item.hash]
            lines.append(
                f"  build    {item.label} by worker {worker + 1} in slot {slot + 1}, about {_minutes(item.seconds)}: {item.reason}"
            )
        lines += [f"  left     {item.label}: {item.reason}" for item in plan.of(Action.LEFT_OVER)]
        lines += some([f"  left out {item.label}: {item.reason}" for item in plan.of(Action.RESTRICTED)])
        lines += some([f"  failing  {item.label}: {item.reason}" for item in plan.of(Action.FAILING)])
        lines += some([f"  present  {item.label}: {item.reason}" for item in plan.of(Action.PRESENT)])
        lines += some([f"  idle     {item.label}: {item.reason}" for item in plan.of(Action.IDLE)])
        lines.append(_last(plan))
    lines.append(f"plan: in {where}; nothing was built")
    data = tuple(
        step_data(
            "plan", plan.stack, [item.json() | {"outcome": item.action.value} for item in plan.items],
            schedule=plan.schedule.json(), bound=round(plan.bound, 1),
        )
        for plan in plans
    )  # fmt: skip
    return Report(lines=tuple(lines), exit_code=rejected.exit_code, data=(*rejected.data, *data))


def pick_report(pick: Pick, stack: str, seed: str, names: int) -> Report:
    """Which packages chance picked of how many, by which seed, and which it passed over, each with its reason."""
    lines = some([f"  passed   {passed.name}: {passed.reason}" for passed in pick.passed])
    lines += [f"  picked   {name}" for name in pick.names]
    lines.append(
        f"stack {stack}: {len(pick.names)} of {names} packages are picked at random; --seed {seed} picks the same ones of the same cache"
    )
    items = [{"label": name, "outcome": "picked"} for name in pick.names]
    items += [{"label": passed.name, "outcome": "passed", "reason": passed.reason} for passed in pick.passed]
    return Report(lines=tuple(lines), data=(step_data("pick", stack, items, seed=seed),))


def _last(plan: StackPlan) -> str:
    if not plan.items:
        return f"stack {plan.stack}: Spack refuses all that it wants"
    counts = {action: len(plan.of(action)) for action in Action}
    if not counts[Action.BUILD]:
        rest = f"; {counts[Action.LEFT_OVER]} are left over" if counts[Action.LEFT_OVER] else ""
        rest += f"; {counts[Action.FAILING]} failed lately" if counts[Action.FAILING] else ""
        return f"stack {plan.stack}: nothing to build, {counts[Action.PRESENT]} specs are in the cache{rest}"
    slots = sum(len(slots) for slots in plan.schedule.workers)
    there = f"{counts[Action.PRESENT]} in the cache, {counts[Action.LEFT_OVER]} left over"
    there += f", {counts[Action.FAILING]} failed lately" if counts[Action.FAILING] else ""
    return (
        f"stack {plan.stack}: {counts[Action.BUILD]} to build, {there}; "
        f"{len(plan.schedule.workers)} workers, {slots} slots, about {_minutes(plan.schedule.seconds)} "
        f"(no schedule is faster than {_minutes(plan.bound)})"
    )


def summary(plans: Sequence[StackPlan], costs: Costs) -> str:
    """The same in GitHub's Markdown, for the summary of a job."""
    lines: list[str] = []
    for plan in plans:
        lines += [f"## Stack {plan.stack}", "", _last(plan).partition(": ")[2].capitalize() + ".", ""]
        built = plan.of(Action.BUILD)
        if not built:
            continue
        lines += ["```mermaid", *_gantt(plan, costs), "```", ""]
        if len(built) <= DRAWN:
            lines += ["```mermaid", *_drawing(plan), "```", ""]
        lines += ["| spec | worker | slot | about | why |", "| --- | --: | --: | --: | --- |"]
        place = plan.schedule.place()
        rows = []
        for item in (*built, *plan.of(Action.LEFT_OVER), *plan.of(Action.FAILING)):
            worker, slot = (str(number + 1) for number in place[item.hash]) if item.hash in place else ("", "")
            rows.append(f"| {markdown(item.label)} | {worker} | {slot} | {_minutes(item.seconds)} | {markdown(item.reason)} |")
        lines += [*rows[:BARS], *([f"| … and {len(rows) - BARS} more | | | | |"] if len(rows) > BARS else []), ""]
    return "\n".join(lines) + "\n"


def simulation(plans: Sequence[StackPlan], counts: Sequence[int], limits: Limits, costs: Costs) -> Report:
    """What the same takes on other numbers of runners, and laid out in other ways."""
    lines: list[str] = []
    data = []
    for plan in plans:
        known = {item.hash: item for item in plan.items}
        graph = {h: Work(hash=h, label=known[h].label, seconds=known[h].seconds, needs=needs) for h, needs in plan.needs.items()}
        if not graph:
            lines.append(_last(plan))
            continue
        rows = []
        for count in counts:
            made = make_schedule(list(graph.values()), limits=replace(limits, workers=count), costs=costs)
            rows.append({
                "runners": count, "used": len(made.workers), "leftOver": len(made.left_over), "seconds": round(made.seconds),
                "bound": round(bound(graph, count, costs)), "waves": round(level_waves(graph, count, costs)),
                "jobPerRoot": round(job_per_root(graph, count, costs)),
            })  # fmt: skip
        lines.append(f"stack {plan.stack}: {len(graph)} specs, {_minutes(sum(work.seconds for work in graph.values()))} of building")
        lines.append("  runners  used  minutes  (least)  left over | waves by level  a job a request")
        lines += [
            f"  {row['runners']:>7} {row['used']:>5} {row['seconds'] / 60:>8.0f} {row['bound'] / 60:>8.0f} {row['leftOver']:>10} | "
            f"{row['waves'] / 60:>14.0f} {row['jobPerRoot'] / 60:>16.0f}"
            for row in rows
        ]
        data.append({"step": "simulation", "where": plan.stack, "rows": rows})
    return Report(lines=(*lines, "plan: simulated; nothing was written"), data=tuple(data))


def _gantt(plan: StackPlan, costs: Costs) -> Iterator[str]:
    yield from ("gantt", "  dateFormat X", "  axisFormat %H:%M")
    items = {item.hash: item for item in plan.of(Action.BUILD)}
    ends: dict[str, float] = {}
    waiting = [list(slots) for slots in plan.schedule.workers]
    bars: list[list[str]] = [[] for _ in waiting]
    free = [costs.job] * len(waiting)
    while any(waiting):
        for at, slots in enumerate(waiting):
            if not slots or not all(need in ends for need in slots[0].waits):
                continue
            slot = slots.pop(0)
            now = max([free[at], *(ends[need] for need in slot.waits)]) + costs.slot
            for h in slot.builds:
                start, now = now, now + items[h].seconds
                bars[at].append(f"  {_bar(items[h].label)} :{start:.0f}, {max(now, start + 1):.0f}")
            free[at] = now
            ends |= dict.fromkeys(slot.builds, now)
    shown = 0
    for at, found in enumerate(bars):
        if shown + len(found) > BARS:
            yield f"  %% {len(bars) - at} more workers"
            return
        yield f"  section Worker {at + 1}"
        yield from found
        shown += len(found)


def _drawing(plan: StackPlan) -> Iterator[str]:
    items = {item.hash: item for item in plan.of(Action.BUILD)}
    yield "flowchart LR"
    for h, item in items.items():
        yield f'  {h}["{_bar(item.label)}"]'
    for h in items:
        yield from (f"  {need} --> {h}" for need in plan.needs[h])


def _bar(label: str) -> str:
    """A label in which nothing is left that Mermaid would read as its own."""
    return "".join(char if char.isalnum() or char in "._-+" else " " for char in label.partition("/")[0].replace("@", " "))


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
