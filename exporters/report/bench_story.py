"""What a benchmark's report says in words: headline, tables, notes, facts. Rendered elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from exporters.latency.bench_file import BenchFile, BenchRow
from exporters.report import words
from exporters.report.bench_lines import Line, dominators, machine_names
from exporters.report.story import PERCENTILES, Figure, Table

__all__ = [
    "bench_facts",
    "bench_figures",
    "bench_notes",
    "bench_subtitle",
    "bench_table",
    "bench_title",
    "failure_table",
    "file_table",
    "latency_table",
]

P99_BOUND = (
    "p99 at most: with 99 % confidence the true p99 is no higher, if calls do not depend on each "
    "other (MLPerf's early stopping)"
)


def bench_title(lines: Sequence[Line]) -> str:
    """How much was measured, as one line."""
    timed = sum(line.row.latency is not None for line in lines)
    failed = len(lines) - timed
    said = f"{timed} model{'' if timed == 1 else 's'} measured"
    return f"{said}, {failed} not" if failed else said


def bench_subtitle(lines: Sequence[Line]) -> str:
    """On what."""
    return "On " + "; ".join(dict.fromkeys(line.machine for line in lines))


def bench_figures(lines: Sequence[Line]) -> list[Figure]:
    """The best line in each measure, where there is a choice."""
    timed = [line for line in lines if line.row.latency is not None]
    if len(timed) < 2:
        return []
    found = [
        _best(timed, "fastest, median", _p50, words.milliseconds, min),
        _best(timed, "smallest file", lambda row: float(row.bytes), _size, min),
        _best(timed, "most accurate, top-1", lambda row: row.top1, words.percent, max),
        _best(timed, "least energy an inference", lambda row: row.energy_mj, millijoules, min),
    ]
    return [figure for figure in found if figure is not None]


def bench_table(lines: Sequence[Line]) -> Table:
    """One row a model: what it costs and what it is worth; no column that nobody fills."""
    several = len({line.machine for line in lines}) > 1
    above = dominators(lines)
    rows = [
        (
            line.short,
            line.machine if several else "",
            row.architecture or "",
            words.count(row.parameters) if row.parameters is not None else "",
            words.size(row.bytes),
            words.percent(row.top1) if row.top1 is not None else "",
            words.percent(row.agreement) if row.agreement is not None else "",
            words.milliseconds(row.latency["p50"]) if row.latency else "not measured",
            _ratio(row),
            millijoules(row.energy_mj) if row.energy_mj is not None else "",
            millijoules(row.energy_above_idle_mj) if row.energy_above_idle_mj is not None else "",
            row.rail or "",
            _remark(lines, better, row),
        )
        for line, better in zip(lines, above, strict=True)
        for row in (line.row,)
    ]
    headers = (
        *("Model", "Machine", "Network", "Parameters", "Size", "Top-1", "Agreement"),
        *("Latency p50", "Speed-up", "Energy", "Above idle", "Rail", "Remark"),
    )
    return Table(headers=headers, rows=tuple(rows)).without_empty()


def latency_table(lines: Sequence[Line]) -> Table:
    """The distribution of each timed model, in milliseconds a call."""
    rows = []
    for line in lines:
        latency = line.row.latency
        if latency is None:
            continue
        p99 = _plain(latency["p99"])
        rows.append(
            (
                line.name,
                *(_plain(latency[name]) for name in ("p50", "p90", "p95")),
                p99 if latency.get("p99_reliable", True) else f"{p99} *",
                _plain(latency.get("p99_bound")),
                _plain(latency.get("mean")),
                _plain(latency.get("std")),
                _count(latency.get("n_samples")),
                str(line.row.batch),
                _count(latency.get("images_per_second")),
                "unstable" if latency.get("unstable") else "steady",
            )
        )
    headers = (
        *("Model", "p50", "p90", "p95", "p99", "p99 at most", "mean", "std"),
        *("calls", "batch", "images/s", "machine"),
    )
    return Table(headers=headers, rows=tuple(rows)).without_empty()


def failure_table(lines: Sequence[Line]) -> Table:
    """What has no latency, and why."""
    rows = tuple(
        (line.name, line.row.path, line.row.failure)
        for line in lines
        if line.row.failure is not None
    )
    return Table(headers=("Model", "File", "Reason"), rows=rows)


def file_table(lines: Sequence[Line]) -> Table:
    """Each file with its hash."""
    rows = tuple((line.name, line.row.path, line.row.sha256 or "unknown") for line in lines)
    return Table(headers=("Model", "File", "SHA-256"), rows=rows)


def bench_notes(files: Sequence[BenchFile], lines: Sequence[Line]) -> list[str]:
    """What a reader must know before believing the figures, the gravest first."""
    timed = [line for line in lines if line.row.latency is not None]
    said = [*_doubts(timed), *_doubts_of_old([line for line in timed if line.row.doubts is None])]
    if any(line.row.latency and line.row.latency.get("p99_bound") for line in timed):
        said.append(P99_BOUND)
    if len({line.machine for line in lines}) > 1:
        said.append(
            "Latencies of different machines differ by the machine; dominated is said of "
            "models of one result and one batch only"
        )
    if timed and all(line.row.top1 is None and line.row.agreement is None for line in timed):
        said.append(
            "Accuracy is not known here: a fast model may be a bad one, and none is called "
            "dominated"
        )
    for name, file in zip(machine_names(files), files, strict=True):
        where = f"{name}: " if len(files) > 1 else ""
        said += [f"{where}{warning}" for warning in file.environment.get("warnings", [])]
    said = list(dict.fromkeys(said))
    return [f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" for text in said]


def _doubts(timed: Sequence[Line]) -> list[str]:
    """What the results themselves doubt; what is said of several models is said once."""
    said: dict[str, list[str]] = {}
    for line in timed:
        for doubt in line.row.doubts or ():
            said.setdefault(doubt, []).append(line.name)
    return [f"Doubt of {'; '.join(names)}: {doubt}" for doubt, names in said.items()]


def _doubts_of_old(timed: Sequence[Line]) -> list[str]:
    """The same of results that are older than their doubts."""
    shaky = [line.name for line in timed if line.row.latency and line.row.latency.get("unstable")]
    few = [
        line.name
        for line in timed
        if line.row.latency and not line.row.latency.get("p99_reliable", True)
    ]
    said = []
    if shaky:
        said.append(f"The machine changed while it measured {', '.join(shaky)}")
    if few:
        said.append(
            f"p99 of {', '.join(few)} (marked *) rests on fewer than ten slower calls: an example, "
            "not a bound"
        )
    return said


def bench_facts(file: BenchFile) -> list[tuple[str, str]]:
    """How one result was measured: name and value, in reading order; nothing that is unknown."""
    environment, device = file.environment, file.device or {}
    runtime = environment.get("runtime") or {}
    mode = device.get("power_mode") or {}
    cores = environment.get("cores")
    versions = environment.get("versions") or {}
    rows: list[tuple[str, object]] = [
        ("Result", file.path.name),
        ("Measured by", file.host),
        ("Board", device.get("model")),
        ("Module", device.get("module")),
        ("JetPack", device.get("jetpack")),
        ("Power mode", mode.get("name") or mode.get("number")),
        ("Processor", environment.get("processor") or environment.get("machine")),
        ("Cores", cores),
        ("Integer instructions", ", ".join(environment.get("cpu_flags") or [])),
        ("Threads a model", environment.get("threads")),
        ("Frequency governor", environment.get("governor")),
        ("Runtime", " ".join(str(runtime[k]) for k in ("runtime", "version") if runtime.get(k))),
        ("Providers", ", ".join(map(str, runtime.get("providers") or []))),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        (
            "Load of the machine",
            _load(environment.get("load_before"), environment.get("load_after")),
        ),
        ("Inside the clock", environment.get("clock")),
        ("Input", environment.get("input")),
        ("Percentiles", PERCENTILES),
    ]
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def millijoules(value: float | None) -> str:
    """Returns an energy with three digits."""
    return words.UNKNOWN if value is None else words.milliseconds(value).replace(" ms", " mJ")


def _best(
    lines: Sequence[Line],
    label: str,
    measure: Callable[[BenchRow], float | None],
    say: Callable[[float | None], str],
    choose: Callable[..., tuple[float, str]],
) -> Figure | None:
    found = [(value, line.name) for line in lines if (value := measure(line.row)) is not None]
    if not found:
        return None
    value, name = choose(found, key=lambda pair: pair[0])
    return Figure(value=say(value), label=label, detail=name)


def _p50(row: BenchRow) -> float | None:
    return row.latency["p50"] if row.latency is not None else None


def _size(value: float | None) -> str:
    return words.size(round(value or 0))


def _ratio(row: BenchRow) -> str:
    ratio = row.speedup
    if ratio is None:
        return ""
    return f"{ratio['estimate']:.2f}{words.TIMES} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def _remark(lines: Sequence[Line], better: int | None, row: BenchRow) -> str:
    if row.failure is not None:
        return row.failure
    return "" if better is None else f"dominated by {lines[better].short}"


def _plain(value: float | None) -> str:
    return "" if value is None else words.milliseconds(value).removesuffix(" ms")


def _count(value: float | None) -> str:
    return "" if value is None else words.count(round(value))


def _load(before: float | None, after: float | None) -> str:
    return "" if before is None else f"{before} before, {after} after"
