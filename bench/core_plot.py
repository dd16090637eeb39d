# SPDX-License-Identifier: Apache-2.0
"""usage: core_plot.py OUT.svg < output of core_leases      the cost of a step over the number of pools, log-log"""
import math
import re
import sys

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 360, 70, 50
LINES = (("lease", "#0b6e99"), ("probe", "#b3541e"))


def read(text):
    found = re.findall(r"(\d+) pools +([\d.]+) ns a lease +([\d.]+) ns a probe", text)
    if not found:
        sys.exit("core_plot.py: there is no measurement in the input")
    return [(int(n), {"lease": float(lease), "probe": float(probe)}) for n, lease, probe in found]


def draw(rows):
    xs = [math.log10(n) for n, _ in rows]
    tops = [max(values.values()) for _, values in rows]
    low, high = 1, math.ceil(math.log10(max(tops)))

    def x(n):
        return LEFT + (math.log10(n) - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - LEFT - 90)

    def y(ns):
        return HEIGHT - BOTTOM - (math.log10(max(ns, 10)) - low) / (high - low) * (HEIGHT - BOTTOM - 30)

    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">'
           % (WIDTH, HEIGHT), '<rect width="100%" height="100%" fill="white"/>',
           '<text x="%d" y="18" font-size="14">cost of a step of the core</text>' % LEFT]
    for power in range(low, high + 1):
        out.append('<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%d ns</text>'
                   % (LEFT, y(10 ** power), WIDTH - 90, LEFT - 6, y(10 ** power) + 4, 10 ** power))
    for n, _ in rows:
        out.append('<text x="%.1f" y="%d" text-anchor="middle">%s</text>' % (x(n), HEIGHT - BOTTOM + 18, format(n, ",")))
    out.append('<text x="%d" y="%d" text-anchor="middle">pools</text>' % (WIDTH / 2, HEIGHT - 12))
    for name, colour in LINES:
        points = " ".join("%.1f,%.1f" % (x(n), y(values[name])) for n, values in rows)
        out.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>' % (points, colour))
        out.append('<text x="%d" y="%.1f" fill="%s">%s</text>' % (WIDTH - 84, y(rows[-1][1][name]) + 4, colour, name))
    return "\n".join(out + ["</svg>", ""])


with open(sys.argv[1], "w", encoding="utf-8") as svg:
    svg.write(draw(read(sys.stdin.read())))
