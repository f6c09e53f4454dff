"""The page of labelled frames, as people write it."""

from pathlib import Path

import pytest

from parfocal.errors import BadInputError
from parfocal.slices.references import locate, parse_gallery, read_gallery

PAGE = """# Bad/Okay/Great references

Goal: a minimal gallery.

## Bad Images
- `/net/lab/vol1/project/images/20250912_B10/20250912_B10_ch00_t0092.jpg`
- `project/images/20250912_B10/20250912_B10_ch00_t0096.jpg` motion

## Okay images
* `project/images/20250912_C04/20250912_C04_ch00_t0111.jpg`

## GREAT
1. `project/images/20250912_F02/20250912_F02_ch01_t0005.jpg`

## Mapping back
- The logic lives in `src/build/export_utils.py`, read `metadata/table_20250711.csv`.
"""


def test_headings_give_the_category_and_file_names_the_rest():
    gallery = parse_gallery(PAGE)
    assert [(r.category, r.well, r.time_int, r.channel, r.line) for r in gallery.references] == [
        ("bad", "B10", 92, 0, 6),
        ("bad", "B10", 96, 0, 7),
        ("okay", "C04", 111, 0, 10),
        ("great", "F02", 5, 1, 13),
    ]
    assert {r.date for r in gallery.references} == {"20250912"}
    assert [r.name for r in gallery.of("great")] == ["20250912_F02_ch01_t0005"]


def test_the_gallery_that_the_format_comes_from_is_read_whole():
    found = Path(__file__).resolve().parents[3].parent / "shared" / "requirements"
    pages = sorted(found.glob("000_*")) if found.is_dir() else []
    if not pages:
        pytest.skip("the original gallery is not here")
    gallery = read_gallery(pages[0])
    assert [len(gallery.of(category)) for category in ("bad", "okay", "great")] == [4, 3, 3]
    assert {r.well for r in gallery.of("bad")} == {"B10", "C04"}


def test_windows_ends_of_line_and_a_byte_order_mark_change_nothing(tmp_path):
    page = tmp_path / "gallery.md"
    page.write_bytes(b"\xef\xbb\xbf" + PAGE.replace("\n", "\r\n").encode())
    assert read_gallery(page).references == parse_gallery(PAGE).references


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("- no path here", "line 4: 0 paths in backticks"),
        ("- `20250912_B10_ch00_t0092.jpg` and `20250912_B10_ch00_t0093.jpg`", "line 4: 2 paths in backticks"),
        (
            "- `20250912_B13_ch00_t0092.jpg`",
            "line 4: file name '20250912_B13_ch00_t0092.jpg', expected <date 8>_<well",
        ),
        ("- `20250912_I01_ch00_t0092.jpg`", "line 4: file name"),
        ("- `20250912_B10_ch0_t0092.jpg`", "line 4: file name"),
        ("- `20250912_B10_ch00_t92.jpg`", "line 4: file name"),
        ("- `20251399_B10_ch00_t0092.jpg`", "line 4: 20251399 is no date"),
        ("- `20250912_C04/20250912_B10_ch00_t0092.jpg`", "lies in folder 20250912_C04, expected 20250912_B10"),
        ("- `x/20250912_A01_ch00_t0000.jpg`", "stands on line 3 already; expected each frame once"),
        ("## Great\n- `20250912_A01_ch00_t0000.jpg`", "line 5: .* stands on line 3 already as bad"),
        ("## Terrible\n- `20250912_B10_ch00_t0092.jpg`", "line 5: an image under heading 'Terrible'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_number(line, said):
    with pytest.raises(BadInputError, match=said) as caught:
        parse_gallery(f"# Page\n## Bad\n- `20250912_A01_ch00_t0000.jpg`\n{line}\n")
    assert "\n" not in str(caught.value)


def test_an_image_before_any_heading_is_not_passed_over():
    with pytest.raises(BadInputError, match="line 1: an image under no heading"):
        parse_gallery("- `20250912_A01_ch00_t0000.jpg`\n")


@pytest.mark.parametrize("content", [b"", b"# Nothing\n", b"## Bad\n"])
def test_a_page_without_frames_is_refused(tmp_path, content):
    page = tmp_path / "empty.md"
    page.write_bytes(content)
    with pytest.raises(BadInputError, match=r"empty\.md: no frame"):
        read_gallery(page)


def test_what_is_no_text_or_not_there_is_refused(tmp_path):
    (tmp_path / "binary.md").write_bytes(b"## Bad\xff\xfe")
    with pytest.raises(BadInputError, match="byte 6 is no UTF-8"):
        read_gallery(tmp_path / "binary.md")
    with pytest.raises(BadInputError, match="cannot be read: No such file"):
        read_gallery(tmp_path / "missing.md")


def test_paths_of_another_machine_are_found_below_the_root(tmp_path):
    folder = tmp_path / "images" / "20250912_B10"
    folder.mkdir(parents=True)
    for name in ("20250912_B10_ch00_t0092.jpg", "20250912_B10_ch00_t0096.jpg"):
        (folder / name).write_bytes(b"jpg")
    absolute, relative = parse_gallery(PAGE).of("bad")
    assert locate(absolute, tmp_path) == folder / "20250912_B10_ch00_t0092.jpg"
    assert locate(relative, tmp_path) == folder / "20250912_B10_ch00_t0096.jpg"
    with pytest.raises(BadInputError, match=r"line 10: .* is not below"):
        locate(parse_gallery(PAGE).of("okay")[0], tmp_path)


def test_a_path_cannot_leave_its_root(tmp_path):
    outside = tmp_path / "20250912_B10_ch00_t0092.jpg"
    outside.write_bytes(b"jpg")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    dotted, linked = parse_gallery(
        "## Bad\n- `../20250912_B10_ch00_t0092.jpg`\n- `link/20250912_B10_ch00_t0093.jpg`\n"
    ).references
    outside.with_name("20250912_B10_ch00_t0093.jpg").write_bytes(b"jpg")
    with pytest.raises(BadInputError, match=r"leaves its folder by \.\."):
        locate(dotted, tmp_path / "root")
    with pytest.raises(BadInputError, match="lies outside"):
        locate(linked, tmp_path / "root")
