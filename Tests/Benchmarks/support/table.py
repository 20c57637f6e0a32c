"""The figures, side by side with what they are held against."""
import statistics

median = statistics.median


class Row:
    """One line. `ratio` is what the target bounds, or None for a line that is only there for comparison."""

    def __init__(self, figure, ours, against="", ratio=None, target=None, unit="×"):
        self.figure, self.ours, self.against = figure, ours, against
        self.ratio, self.target, self.unit = ratio, target, unit

    @property
    def cells(self):
        if self.ratio is None:
            return [self.figure, self.ours, self.against, "", "", ""]
        verdict = "" if self.target is None else "ok" if self.ratio <= self.target else "over"
        return [
            self.figure, self.ours, self.against, self._number(self.ratio),
            "" if self.target is None else "≤ " + self._number(self.target), verdict,
        ]

    def _number(self, number):
        return f"{number:.2f}{self.unit}" if self.unit == "×" else f"{number:.4g}{self.unit}"


HEADS = ["figure", "ours", "limit or peer", "ratio", "target", ""]


def text(sections):
    """Sections of rows as one table."""
    sections = [(title, [["  " + row.cells[0], *row.cells[1:]] for row in rows]) for title, rows in sections]
    lines = [HEADS] + [cells for _, rows in sections for cells in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]

    def line(cells):
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip()

    out = [line(HEADS), line(["─" * width for width in widths])]
    for title, rows in sections:
        out.append(title)
        out += [line(cells) for cells in rows]
    return "\n".join(out)
