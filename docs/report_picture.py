"""Draw docs/images/report.png: the page that `parfocal report` makes of a simulated night, in headless Chromium.

PYTHONPATH=tests python docs/report_picture.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import imagecodecs

from parfocal.catalog import DataFolder, open_catalog, stop_server
from parfocal.report import read_story, write_story
from report_browser import BROWSER, OPTIONS
from stored_night import make_night


def main(path, data=None):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(data) if data else Path(folder) / "data"
        since = "2020-01-01" if data else make_night(root, side_px=128, n_puncta_frames=60).began_s
        with open_catalog(root) as catalog:
            page = write_story(read_story(catalog, since=since), Path(folder) / "night.html")
        stop_server(DataFolder(root))
        shot = Path(folder) / "shot.png"
        window = ("--hide-scrollbars", "--window-size=1100,2050", f"--screenshot={shot}")
        options = [option for option in OPTIONS if "budget" not in option]
        subprocess.run(
            [BROWSER, *options, f"--user-data-dir={folder}/profile", *window, page.as_uri()],
            check=True,
            timeout=120,
        )
        pixels = imagecodecs.png_decode(shot.read_bytes())
        path.write_bytes(imagecodecs.png_encode(pixels[..., :3].copy(), level=9))


if __name__ == "__main__":
    main(Path(__file__).with_name("images") / "report.png", *sys.argv[1:])
