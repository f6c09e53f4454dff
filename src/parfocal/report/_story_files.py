"""A story on disk: the page, and its figures for a paper."""

from __future__ import annotations

from pathlib import Path

from parfocal.files import write_atomically
from parfocal.report._plot_paper import FigureKind, write_figures
from parfocal.report._story import Story
from parfocal.report._story_page import story_page
from parfocal.report._story_plots import story_plots


def write_story(story: Story, path: Path) -> Path:
    """Write the page of a story; it is there whole or not at all, and needs nothing beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as temporary:
        temporary.write_text(story_page(story), encoding="utf-8")
    return path


def write_story_figures(story: Story, folder: Path, kind: FigureKind = "svg") -> list[Path]:
    """Write every figure of a story into a folder, for a paper: SVG whose text stays text, or PDF."""
    plots = [plot for section in story_plots(story).values() for plot in section]
    return write_figures(plots, folder, kind)
