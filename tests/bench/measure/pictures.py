"""The latencies of our records: as text, a bar for each power of two, and as SVG, a line for each record by percentile."""

import html
import math
import os

from measure import report

NAMES = ("acquire", "handoff", "read")
PERCENTILES = (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p99.9", "p999"), ("p99.99", "p9999"), ("max", "max"))
BAR = 60

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 800, 440, 70, 40, 40, 50
NINES_MAX = 5 # the right edge: all but one in 10^5
# The name of the format's namespace; nothing is fetched from it.
SVG = "http://{}/2000/svg".format(".".join(("www", "w3", "org")))
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")


def merged(records):
    """The buckets of several records together, in order."""
    total = {}
    for record in records:
        for low, count in record:
            total[low] = total.get(low, 0) + count
    return sorted(total.items())


def distributions(records):
    """(title, percentiles, buckets) of each point that we measured."""
    for (workload, peer, mode, clients), found in report.grouped(records).items():
        for name in NAMES:
            buckets = merged(record[name + "_histogram"] for record in found if record.get(name + "_histogram"))
            if buckets and peer == "lockstep":
                values = {of: report.median(found, report.percentile(name, of)) for _, of in PERCENTILES}
                yield (workload, f"{name}, {mode}, {clients} clients"), values, buckets


# ---- text ----

def histogram(title, values, buckets):
    """Rows of doubling width, the lower edge in microseconds, with a bar that shows the share."""
    rows, total = {}, sum(count for _, count in buckets)
    for low, count in buckets:
        power = math.floor(math.log2(low)) if low >= 1 else 0
        rows[power] = rows.get(power, 0) + count
    most = max(rows.values())
    lines = [f"{title[0]} {title[1]}: {total} values; " + ", ".join(f"{text} {values[of]:.0f} us" for text, of in PERCENTILES)]
    for power in range(min(rows), max(rows) + 1):
        count = rows.get(power, 0)
        bar = "#" * math.ceil(BAR * count / most)
        lines.append(f"{2 ** power:>10} us {100 * count / total:8.4f} % {bar}".rstrip())
    return "\n".join(lines)


def histograms(records):
    return "\n\n".join(histogram(*one) for one in distributions(records))


# ---- SVG ----

def curve(buckets):
    """Points (nines, microseconds): by how many nines of all values each latency is not exceeded."""
    total, seen = sum(count for _, count in buckets), 0
    for low, count in buckets:
        left = 1 - seen / total
        yield min(NINES_MAX, -math.log10(left) if left > 0 else NINES_MAX), max(low, 1)
        seen += count
    yield min(NINES_MAX, math.log10(total)), max(buckets[-1][0], 1)


def frame(title, low, high):
    """Axes: percentiles by their nines below, powers of ten of microseconds at the left."""
    def x(nines):
        return LEFT + (WIDTH - LEFT - RIGHT) * nines / NINES_MAX

    def y(us):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(us) - low) / (high - low)

    parts = [f'<svg xmlns="{SVG}" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>',
             f'<text x="{LEFT}" y="22" font-size="15">{html.escape(title)}</text>']
    for power in range(low, high + 1):
        parts.append(f'<path d="M{LEFT} {y(10 ** power):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(10 ** power) + 4:.1f}" text-anchor="end">{label(power)}</text>')
    for nines, text in ((0, "0"), (-math.log10(0.5), "50"), (1, "90"), (2, "99"), (3, "99.9"), (4, "99.99"), (5, "99.999")):
        parts.append(f'<path d="M{x(nines):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eee"/>')
        parts.append(f'<text x="{x(nines):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{text} %</text>')
    return parts, x, y


def label(power):
    return f"{10 ** power} us" if power < 3 else f"{10 ** (power - 3)} ms" if power < 6 else f"{10 ** (power - 6)} s"


def draw(title, lines, path):
    lows = [buckets[0][0] for _, buckets in lines]
    highs = [buckets[-1][0] for _, buckets in lines]
    low = math.floor(math.log10(max(1, min(lows))))
    high = max(low + 1, math.ceil(math.log10(max(10, max(highs)))))
    parts, x, y = frame(title, low, high)
    for i, (name, buckets) in enumerate(lines):
        colour = COLOURS[i % len(COLOURS)]
        points = " ".join(f"{x(nines):.1f},{y(us):.1f}" for nines, us in curve(buckets))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{LEFT + 12}" y="{TOP + 16 + 16 * i}" fill="{colour}">{html.escape(name)}</text>')
    parts.append("</svg>")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(parts) + "\n")


def draw_all(records, directory):
    """A picture for each workload, a line for each of its points."""
    os.makedirs(directory, exist_ok=True)
    lines = {}
    for (workload, name), _, buckets in distributions(records):
        lines.setdefault(workload, []).append((name, buckets))
    for workload, found in lines.items():
        title = report.TABLES[workload][0] + ": latency by percentile"
        draw(title, found, os.path.join(directory, f"{workload}.svg"))
