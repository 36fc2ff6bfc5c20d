"""The tables of pruning on full MNIST and Fashion-MNIST: ``make bench-pruning``, or ``python bench/pruning.py``.

Every job (a configuration, a seed) adds its outcome to bench/results/pruning.json as soon as it is there, and what the
file has already is not run again; docs/results/pruning.md is written from that file. ``--only`` names the experiments
that are run, ``--workers`` how many at a time, each in a process of its own, on one ``--device``. What was tuned was
tuned on the validation images; every figure is of the last epoch, on the test images, which nothing looks at before.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from pruning_experiments import Job, baseline_jobs, jobs
from pruning_lab import ROOT, SUBJECTS, Lab, fashion_mnist, write_json

from gossamer.errors import GossamerError, TaskError

OUT = ROOT / "bench" / "out" / "pruning"
RESULTS = ROOT / "bench" / "results" / "pruning.json"
PAGE = ROOT / "docs" / "results" / "pruning.md"
FASHION = Path(os.environ.get("GOSSAMER_FASHION", "/usr/share/datasets/fashion-mnist"))

_lab: Lab  # of a worker


def main(  # noqa: PLR0913 (the options of the command line)
    only: Annotated[list[str] | None, typer.Option(help="experiments to run; all by default")] = None,
    device: str = "cpu",
    workers: int = 1,
    seeds: Annotated[int, typer.Option(help="how many")] = 3,
    results: Annotated[Path, typer.Option(help="where outcomes are added")] = RESULTS,
    page: Annotated[bool, typer.Option(help="write the page and its plots")] = True,
    folder: Annotated[Path, typer.Option(help="baselines, checkpoints and graphs")] = OUT,
    data: Annotated[Path, typer.Option(help="folder of MNIST's IDX files")] = ROOT / "data" / "mnist",
    fashion: Annotated[Path, typer.Option(help="folder of Fashion-MNIST's")] = FASHION,
    speed: Annotated[
        bool, typer.Option(help="measure the kept networks in the Engine; on a quiet machine")
    ] = False,
    cpu_time: Annotated[bool, typer.Option(help="of the processes, where others use the machine")] = False,
    mixed_precision: Annotated[
        str, typer.Option(help="of the trainings: no, bf16, fp16 (Accelerate's)")
    ] = "no",
    thrift: Annotated[int | None, typer.Option(help="at most so many epochs each, to try it out")] = None,
) -> None:
    """Run what is missing, and write the page."""
    every = jobs(range(seeds))
    names = list(dict.fromkeys(job.experiment for job in every))
    unknown = set(only or ()) - set(names)
    if unknown:
        raise typer.BadParameter(
            f"no experiment is called {', '.join(sorted(unknown))}; there are {', '.join(names)}"
        )
    done = read(results)
    wanted = [job for job in every if job.experiment in (only or names) and job.key not in done]
    if any(SUBJECTS[name].data == "fashion" for job in wanted for name in job.needs):
        try:
            fashion_mnist(fashion)
        except TaskError as error:
            raise typer.BadParameter(str(error)) from error
    os.environ["ACCELERATE_MIXED_PRECISION"] = mixed_precision
    lab = (device, folder, data, fashion, thrift)
    for batch in ([job for job in baseline_jobs(wanted) if job.key not in done], wanted):
        run_all(batch, lab, workers, results, seeds)
    if speed:
        add_speed(Lab(torch.device("cpu"), folder, data, fashion), results, cpu_time)
    if page:
        from pruning_page import write_page

        write_page(read(results), PAGE)


def run_all(batch: list[Job], lab: tuple[Any, ...], workers: int, results: Path, seeds: int) -> None:
    """Run the jobs, each in one of ``workers`` processes, and add what they give; a failure is told, not kept."""
    if not batch:
        return
    began = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(workers, len(batch)), start_worker, lab) as pool:
        keys = [(job.key, seeds) for job in batch]
        for number, (key, outcome, seconds) in enumerate(pool.imap_unordered(run_job, keys), start=1):
            if isinstance(outcome, str):
                print(f"{key} failed:\n{outcome}", file=sys.stderr, flush=True)
                continue
            write_json(results, {**read(results), key: outcome | of_run(seconds)})
            gone = time.monotonic() - began
            print(
                f"[{gone:5.0f} s] {number}/{len(batch)} {key}: {brief(outcome)} ({seconds:.0f} s)", flush=True
            )


def of_run(seconds: float) -> dict[str, Any]:
    """What is told of every job."""
    return {"seconds": round(seconds, 1), "precision": os.environ["ACCELERATE_MIXED_PRECISION"]}


def add_speed(lab: Lab, results: Path, cpu_time: bool) -> None:
    """Measure, and write latencies beside the errors of seed 0."""
    from pruning_speed import measured

    for dense in ("blocks/dense", "channels/dense"):
        for key, speed in measured(lab, dense, cpu_time) if dense in lab.kept_graphs else ():
            known = read(results)
            if f"{key}/0" in known:
                known[f"{key}/0"] |= speed
                write_json(results, known)
            print(f"{key}: {brief(speed)}", flush=True)


def start_worker(device: str, folder: Path, data: Path, fashion: Path, thrift: int | None) -> None:
    """Once in every process."""
    global _lab
    torch.set_num_threads(1)
    _lab = Lab(torch.device(device), folder, data, fashion, thrift)


def run_job(asked: tuple[str, int]) -> tuple[str, dict[str, Any] | str, float]:
    """The job's key, what it gave (or how it failed), and the seconds it took."""
    key, seeds = asked
    every = jobs(range(seeds))
    job = next(job for job in (*every, *baseline_jobs(every)) if job.key == key)
    began = time.monotonic()
    try:
        outcome: dict[str, Any] | str = job.work(_lab, job.seed)
    except GossamerError as error:  # data or a package that is not there: the message says what to do
        outcome = str(error)
    except Exception:  # the others go on
        outcome = traceback.format_exc()
    return key, outcome, time.monotonic() - began


def read(path: Path) -> dict[str, Any]:
    """Outcomes by key."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def brief(outcome: dict[str, Any]) -> str:
    """An outcome in a line."""
    told = {key: value for key, value in outcome.items() if isinstance(value, float)}
    return ", ".join(f"{key} {value:.3g}" for key, value in told.items())


if __name__ == "__main__":
    typer.run(main)
