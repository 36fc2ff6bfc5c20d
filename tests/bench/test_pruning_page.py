"""The page on pruning is written from any part of the results, and says what is reached."""

import pruning_page
import pytest
from pruning_experiments import baseline_jobs, jobs


def outcome(error, kept, **more):
    return {"error": error, "valid_error": error, "kept": kept, "seconds": 1.0, **more}


ROWS = {"5": {"at_once": 40.0, "tuned": 2.0}, "1": {"at_once": 80.0, "tuned": 9.0}}
CURVE = {"shares": [0.5, 0.9], "increase": {"fc1.weight": [0.1, 0.5], "fc2.weight": [0.0, 2.0]}}
RUN = {"error": 1.5, "valid_error": 1.4, "kept": 21.0, "curve": [0.3, 0.1, 0.2]}
RESULTS = {
    "baseline/lenet-5/0": {"error": 0.8},
    "sparse/lenet-5 0.93 % gradual/0": outcome(0.9, 0.93),
    "sparse/lenet-5 0.93 % gradual/1": outcome(0.8, 0.93),
    "snip/lenet-5 98 % removed/0": outcome(0.9, 2.0),
    "lottery/LeNet-300-100/0": {
        **{"ticket 0": RUN, "ticket 7": RUN, "reinit 7": RUN},
        **{"seconds": 3.0, "precision": "no"},  # of the run, beside its networks
    },
    "criteria/lenet-5 magnitude/0": {"rows": ROWS, "dense": 0.8},
    "allocation/lenet-5 sensitivity/0": {"rows": ROWS, "dense": 0.8, "curves": CURVE},
    "blocks/dense/0": outcome(7.0, 100.0, milliseconds=0.4),
    "blocks/4x1 90 %/0": outcome(7.5, 12.0, milliseconds=0.1),
    "channels/Taylor 1, fine-tuned/0": outcome(7.1, 100.0, dense=7.0, macs=50, dense_macs=100, speedup=1.9),
    "heads/Taylor 25 %/0": {
        "texts": 1000,
        **dict.fromkeys(
            ("rank_correlation", "tuned_rank_correlation", "same_nearest", "tuned_same_nearest"), 0.9
        ),
    },
}


def test_the_page_and_its_plots(tmp_path):
    page = tmp_path / "results" / "pruning.md"
    assert not pruning_page.write_page(RESULTS, page)
    text = page.read_text()
    assert "0.85 % (0.80 to 0.90)" in text and "| met |" in text and "**missed**" in text
    for heading in (
        "Lottery",
        "All criteria",
        "How much from where",
        "Blocks",
        "Channels",
        "Attention heads",
    ):
        assert f"## {heading}" in text
    plots = sorted(path.name for path in page.parent.glob("*.svg"))
    assert len(plots) == 4 and all(f"({name})" in text for name in plots)


@pytest.mark.parametrize("experiment", sorted({key.split("/")[0] for key in RESULTS}))
def test_a_part_of_the_results_is_enough(experiment, tmp_path):
    part = {key: value for key, value in RESULTS.items() if key.startswith(f"{experiment}/")}
    pruning_page.write_page(part, tmp_path / "pruning.md")
    assert "not measured" in (tmp_path / "pruning.md").read_text()


def test_every_job_has_a_key_of_its_own_and_a_section():
    every = jobs([0, 1])
    assert len({job.key for job in every}) == len(every)
    assert {job.experiment for job in every} <= {*pruning_page.SECTIONS, "sparse", "snip"}
    needed = {(name, job.seed) for job in every for name in job.needs}
    assert {(job.name, job.seed) for job in baseline_jobs(every)} == needed
