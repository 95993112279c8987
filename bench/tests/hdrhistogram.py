#!/usr/bin/env python3
"""Reads the distributions and logs of a report with HdrHistogram's Python package.

usage: hdrhistogram.py REPORT

REPORT is a directory written by "xblade-bench report --report". Every log is read
interval by interval; the sum of its histograms must have the counts and
percentiles of the .hgrm files beside it and of result.json.

Exit status: 0 if all agree
"""
import json
import pathlib
import re
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

# As HdrHistogram's Java writer formats them, with three significant digits.
HEADER = "%12s %14s %10s %14s" % ("Value", "Percentile", "TotalCount", "1/(1-Percentile)")
LINE = re.compile(r"[ \d]{8}\.\d{3} [01]\.\d{12} [ \d]{10}( [ \d]{11}\.\d\d)?")
FOOTER = re.compile(r"#\[(Mean|Max|Buckets) +=[ \d.]{13}, (StdDeviation|Total count|SubBuckets) +=[ \d.]{13}\]")


def check(good, what):
    if not good:
        sys.exit(f"FAILED: {what}")


def histograms(path):
    """The sum of all intervals of a log by tag, and their number."""
    sums, intervals = {}, 0
    reader = HistogramLogReader(str(path), HdrHistogram(1, 60_000_000_000, 3))
    end = 0
    while interval := reader.get_next_interval_histogram():
        check(interval.get_start_time_stamp() >= reader.get_start_time_sec() * 1000 - 1, f"{path}: starts too early")
        check(interval.get_end_time_stamp() >= end, f"{path}: goes back in time")
        end = interval.get_end_time_stamp()
        sums.setdefault(interval.get_tag(), HdrHistogram(1, 60_000_000_000, 3)).add(interval)
        intervals += 1
    reader.close()
    return sums, intervals


def cumulated(histogram):
    """Every value in nanoseconds, with its cumulative count."""
    total, values = 0, []
    for item in histogram.get_recorded_iterator():
        total += item.count_added_in_this_iter_step
        values.append((item.value_iterated_to, total))
    return values


def value_at(values, percent):
    """The first value with at least this cumulative count, and its count. (The package's own
    get_value_at_percentile rounds the count.)"""
    wanted = percent * values[-1][1] / 100
    return next((value, count) for value, count in values if count >= wanted * (1 - 1e-14))


def compare_hgrm(path, histogram):
    """Compares column by column; returns the number of lines compared."""
    lines = path.read_text(encoding="utf-8").splitlines()
    check(lines[0] == HEADER and lines[1] == "", f"{path}: header {lines[:2]}")
    body, footer = lines[2:-3], lines[-3:]
    values = cumulated(histogram)
    for line in body:
        check(LINE.fullmatch(line), f"{path}: line {line!r}")
        value, quantile, count, *inverse = map(float, line.split())
        theirs = value_at(values, 100 * quantile)
        check((round(value * 1000), count) == theirs, f"{path}: {line!r}, and they have {theirs}")
        # The quantile has twelve decimals, and this column has two.
        far = 0.006 + 1e-12 / (1 - quantile) ** 2 if inverse else 0
        check(not inverse or abs(1 / (1 - quantile) - inverse[0]) < far, f"{path}: last column of {line!r}")
    for line in footer:
        check(FOOTER.fullmatch(line), f"{path}: footer {line!r}")
    mean, total = (float(re.findall(r"[\d.]+", footer[at])[which]) for at, which in ((0, 0), (1, 1)))
    check(abs(mean - histogram.get_mean_value() / 1000) < 0.001 * mean + 0.001, f"{path}: mean {mean}")
    check(total == histogram.get_total_count(), f"{path}: total {total}")
    return len(body)


def compare_figures(result, histogram, what):
    """Compares with the corresponding figures in result.json."""
    check(result["name"].endswith(what), f"{what}: {result['name']}")
    values = cumulated(histogram)
    for name, percentile in {"p50_us": 50, "p90_us": 90, "p99_us": 99, "p99_9_us": 99.9, "max_us": 100}.items():
        # A percentile exactly on a count may belong to the next value.
        theirs = {value_at(values, min(100, percentile * (1 + more)))[0] / 1e3 for more in (0, 1e-12)}
        check(result[name] in theirs, f"{what}: {name} is {result[name]}, and they have {theirs}")


def main():
    report = pathlib.Path(sys.argv[1])
    results = json.loads((report / "result.json").read_text(encoding="utf-8"))["results"]
    left = iter(results)
    compared = lines = 0
    for log in sorted(report.glob("*.hlog")):
        sums, intervals = histograms(log)
        check(intervals > len(sums) > 0, f"{log}: {intervals} intervals")
        for tag, histogram in sorted(sums.items()):
            lines += compare_hgrm(log.with_name(f"{log.stem}-{tag}.hgrm"), histogram)
            compare_figures(next(left), histogram, tag)
            compared += 1
    check(compared == len(results) > 0, f"{compared} histograms of {len(results)} results")
    print(f"{compared} histograms agree, {lines} lines")


main()
