"""Line charts as SVG, for light and dark pages."""

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 78, 150, 48, 56

# Told apart by people who see few colours too (after Okabe and Ito), on white as on black; and by their marks.
COLOURS = ["#0a84d6", "#d9730d", "#16a05d", "#b866a8", "#8a8a8a", "#c2a000"]

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #333 }
.title { font-size: 15px; font-weight: 600 }
.grid { stroke: #88888844 } .axis { stroke: #888 }
.line { fill: none; stroke-width: 2; stroke-linejoin: round }
@media (prefers-color-scheme: dark) { text { fill: #ddd } }
"""


@dataclass
class Axis:
    title: str
    log: bool
    low: float
    high: float

    @staticmethod
    def over(title: str, values: list[float], log: bool) -> "Axis":
        if log:
            positive = [value for value in values if value > 0] or [1, 10]
            low, high = min(positive), max(positive)
            return Axis(title, True, low, high if high > low else low * 10)
        return Axis(title, False, 0, nice(max([*values, 1e-9])))

    def place(self, value: float) -> float:
        """From 0 to 1. On a logarithmic axis, what is not positive is at its beginning."""
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        value = max(value, self.low)
        return math.log(value / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        if not self.log:
            return [self.high * n / 5 for n in range(6)]
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        decades = [10.0**n for n in range(first, last + 1)]
        steps = (1,) if last - first > 3 else (1, 2, 5)
        ticks = [decade * step for decade in decades for step in steps]
        return [tick for tick in ticks if self.low * 0.999 <= tick <= self.high * 1.001]


@dataclass
class Line:
    title: str
    points: list[tuple[float, float]]


def chart(title: str, x: str, y: str, lines: list[Line], *, log_x: bool, log_y: bool) -> str:
    """One chart; each point says its figures when pointed at."""
    lines = [line for line in lines if line.points]
    horizontal = Axis.over(x, [px for line in lines for px, _ in line.points], log_x)
    vertical = Axis.over(y, [py for line in lines for _, py in line.points], log_y)
    if vertical.log:
        # Room above and below, up to a round figure.
        vertical.low, vertical.high = rounded_down(vertical.low), nice(vertical.high)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(px: float, py: float) -> tuple[float, float]:
        return LEFT + width * horizontal.place(px), TOP + height * (1 - vertical.place(py))

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>',
    ]
    for tick in vertical.ticks():
        _, ty = at(horizontal.low, tick)
        out.append(f'<path class="grid" d="M{LEFT} {ty:.1f}h{width}"/>')
        out.append(f'<text x="{LEFT - 8}" y="{ty + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    for tick in horizontal.ticks():
        tx, _ = at(tick, vertical.low)
        out.append(f'<path class="grid" d="M{tx:.1f} {TOP}v{height}"/>')
        out.append(f'<text x="{tx:.1f}" y="{TOP + height + 20}" text-anchor="middle">{short(tick)}</text>')
    out.append(f'<path class="axis" fill="none" d="M{LEFT} {TOP}v{height}h{width}"/>')
    out.append(f'<text x="{LEFT + width / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x)}</text>')
    middle = TOP + height / 2
    out.append(f'<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">{escape(y)}</text>')
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        places = [at(px, py) for px, py in line.points]
        path = "L".join(f"{px:.1f} {py:.1f}" for px, py in places)
        out.append(f'<path class="line" stroke="{colour}" d="M{path}"/>')
        for (px, py), (vx, vy) in zip(places, line.points):
            out.append(f"{mark(number, px, py, colour)}<title>{escape(line.title)}: {short(vx)}, {short(vy)}</title></path>")
    # The key, in the order of the lines' ends, so that the eye finds them.
    order = sorted(range(len(lines)), key=lambda n: -lines[n].points[-1][1])
    for row, number in enumerate(order):
        ky = TOP + 12 + row * 22
        out.append(f"{mark(number, WIDTH - RIGHT + 20, ky, COLOURS[number % len(COLOURS)])}</path>")
        out.append(f'<text x="{WIDTH - RIGHT + 32}" y="{ky + 4}">{escape(lines[number].title)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def mark(number: int, x: float, y: float, colour: str) -> str:
    """A filled sign around a point, left open for its title."""
    shapes = ["m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "m-4-4h8v8h-8z", "m0-5l5 9h-10z", "m0-5l5 5l-5 5l-5-5z",
              "m0 5l5-9h-10z", "m-5-2h10v4h-10z"]
    return f'<path fill="{colour}" d="M{x:.1f} {y:.1f}{shapes[number % len(shapes)]}">'


def nice(value: float) -> float:
    """The next round figure at or above."""
    decade = 10.0 ** math.floor(math.log10(value))
    return next(decade * step for step in (1, 1.5, 2, 3, 5, 7.5, 10) if decade * step >= value * 0.999)


def rounded_down(value: float) -> float:
    decade = 10.0 ** math.floor(math.log10(value))
    return max(decade * step for step in (1, 2, 5) if decade * step <= value * 1.001)


def short(value: float) -> str:
    """1500 is 1.5k."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
