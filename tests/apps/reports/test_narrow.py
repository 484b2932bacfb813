"""Figures for phones: panels of a row below one another, with the labels they shared."""

import pytest
from matplotlib.figure import Figure

from gnvpro.apps.reports.narrow import has_room, narrowed
from gnvpro.apps.reports.page import Contents, pictures


def row(columns=3, rows=1, **options):
    figure = Figure(figsize=(9, 3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, **options)
    for axes in panels.ravel():
        axes.plot([0, 1], [0, 1], label="line")
    panels[0, 0].set_ylabel("error (%)")
    return figure


def test_panels_of_a_row_are_put_below_one_another_with_the_label_they_shared():
    figure = row(sharey=True)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center")
    assert narrowed(figure)
    figure.draw_without_rendering()
    assert has_room(figure)
    first, second, third = (axes.get_position() for axes in figure.axes)
    assert first.y0 > second.y1 > second.y0 > third.y1
    assert [axes.get_ylabel() for axes in figure.axes] == ["error (%)"] * 3
    assert all(axes.yaxis.get_tick_params()["labelleft"] for axes in figure.axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["line"]
    assert legend.get_window_extent().y1 < figure.axes[-1].get_window_extent().y0


def test_panels_that_share_nothing_keep_their_own_labels():
    figure = row(columns=2)
    assert narrowed(figure)
    assert [axes.get_ylabel() for axes in figure.axes] == ["error (%)", ""]


@pytest.mark.parametrize("figure", [row(rows=2), row(columns=6), Figure((9, 3))])
def test_other_figures_are_left_as_they_are(figure):
    size = tuple(figure.get_size_inches())
    assert not narrowed(figure)
    assert tuple(figure.get_size_inches()) == size


def test_labels_that_leave_no_room_are_told():
    figure = row(columns=1)
    figure.axes[0].set_yticks([0.5], ["a label that is longer than a phone is wide, " * 2])
    assert narrowed(figure)
    with pytest.warns(UserWarning, match="constrained_layout not applied"):
        figure.draw_without_rendering()
    assert not has_room(figure)


def test_a_page_has_a_narrow_version_or_a_size_that_is_legible():
    one_row, grid, small = pictures([("a", row(), ""), ("b", row(rows=2), ""), ("c", Figure((4, 3)), "")])
    assert one_row["tall"].startswith("data:image/svg+xml;base64,")
    assert one_row["tall"] != one_row["source"]
    assert one_row["large"] is None
    assert (grid["tall"], grid["large"]) == (None, pytest.approx(0.78 * 96 * 9, abs=1))
    assert (small["tall"], small["large"]) == (None, None)


def test_anchors_are_words_and_unique():
    contents = Contents()
    titles = ("Error bands", "Error bands", "Reproduce", "±")
    anchors = [contents.add(title) for title in titles]
    assert anchors[0] == "error-bands"
    assert len({*anchors, "reproduce", ""}) == len(titles) + 2
    assert [title for _, title in contents.entries] == list(titles)
