"""Where the texts of a figure lie."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text


def assert_texts_lie_apart(figure: Figure, dpi: int, monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """Draw a figure, check that no text is cut or lies on another, and return the texts that were drawn."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    drawn: dict[Text, None] = {}  # tick labels outside the view are not
    draw = Text.draw
    monkeypatch.setattr(Text, "draw", lambda text, renderer: (drawn.setdefault(text), draw(text, renderer)))
    canvas.draw()
    texts = [text for text in drawn if text.get_visible() and text.get_text().strip()]
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts]
    for text, box in zip(texts, boxes, strict=True):
        assert min(box.x0, box.y0) >= 0, text
        assert box.x1 <= figure.bbox.width, text
        assert box.y1 <= figure.bbox.height, text
    # The box around a slanted text is no measure; a pixel is rounding.
    upright = [box.padded(-1) for text, box in zip(texts, boxes, strict=True) if text.get_rotation() != 45]
    assert [box for number, box in enumerate(upright) if box.count_overlaps(upright[number + 1 :])] == []
    return texts
