"""What the benchmarks of the catalog put in and count; nothing here asserts a time."""

import pytest

from parfocal.bench._catalog_queries import insert_runs, run_uid
from parfocal.bench._memory import growth
from parfocal.catalog import open_catalog, stop_server


def test_runs_that_went_straight_into_the_database_are_found_like_others(tmp_path):
    try:
        with open_catalog(tmp_path) as catalog:
            catalog.shelf("raw")
            insert_runs(f"sqlite:///{catalog.folder.catalog / 'catalog.db'}", 0, 40)
            insert_runs(f"sqlite:///{catalog.folder.catalog / 'catalog.db'}", 40, 50)
            found = catalog.runs(sample="slide 3")
            assert found["scan_id"].tolist() == [44, 34, 24, 14, 4]
            assert found["n_events"].tolist() == [83] * 5
            assert len(catalog.runs(where=["sample_age_h>=35", "plan_name~z_*"])) == 2
            assert catalog.run(run_uid(7)[:8]).metadata["start"]["scan_id"] == 8
            assert list(catalog.run(-1)) == ["primary"]
    finally:
        stop_server(tmp_path)


@pytest.mark.parametrize(("after", "expected"), [([100.0] * 20, 0.0), ([100.0] * 18 + [110.0] * 2, 10.0)])
def test_growth_is_told_of_what_comes_after_the_warm_up(after, expected):
    assert growth([10, 50, 90, *after], 3) == pytest.approx(expected)
