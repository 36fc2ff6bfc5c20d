"""The commands, their options and their help. Each imports what it needs when it runs: ``inspect`` needs no
torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gossamer.cli.output import messages, print_json, progress, results

app = typer.Typer(
    name="gossamer",
    help="Makes trained networks smaller and faster, and tells what it measured.",
    epilog="Try 'gossamer demo' first. 'gossamer COMMAND --help' explains a command with an example.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]
Model = Annotated[
    str, typer.Argument(help="package.module:build, a model or a function that returns one; or a .onnx file.")
]
Recipe = Annotated[
    str, typer.Option(help="The recipe, a YAML file: a list of passes; or one that comes along: int8.")
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The .goss file to write.")]
TaskOf = Annotated[str | None, typer.Option(help="package.module:task, a Task or a function.")]
Calib = Annotated[
    Path | None, typer.Option(help="An .npz file of inputs by name, for recipes that need no labels.")
]
ReportTo = Annotated[Path | None, typer.Option(help="Also measure, and write this report.")]
Checkpoint = Annotated[
    Path | None, typer.Option(help="A folder: killed at any moment, the same command goes on.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of everything that is left to chance.")]


def _version(wanted: bool) -> None:
    if wanted:
        from gossamer import __version__

        typer.echo(f"gossamer {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    del version, debug  # --debug is looked at in gossamer.cli.main, where errors arrive


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="Folder of MNIST's four files; else $GOSSAMER_DATA, ./data/mnist.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path(
        "lenet-300-100.goss"
    ),
    report: Annotated[Path, typer.Option(help="The report to write.")] = Path("report.html"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Train a tenth: to see it work, not how well.")
    ] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Compress a network on real data, from training to the report.

    Trains LeNet-300-100 on MNIST, prunes it, shares its weights, writes one
    file some sixty times smaller, runs that file on the test images in a
    process that cannot import torch, races it against the other runtimes
    that are installed, and writes a report. Takes one to two minutes.

    Example:  gossamer demo --report report.html
    """
    from gossamer.cli import demo as steps
    from gossamer.cli.compress import check_writable
    from gossamer.cli.demo_page import show

    def say(text: str) -> None:
        messages().print(text, soft_wrap=True, markup=False)

    check_writable(output, report)
    found = steps.run_demo(steps.find_mnist(data), output, report, quick=quick, seed=seed, say=say)
    if json:
        print_json(steps.as_json(found))
    else:
        show(found, results())


@app.command()
def compress(  # noqa: PLR0913 (one argument an option)
    model: Model,
    recipe: Recipe,
    output: Output,
    task: TaskOf = None,
    calib: Calib = None,
    report: ReportTo = None,
    checkpoint: Checkpoint = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Compress your own trained model with a recipe.

    The model and its task (data, loss, metric: what must not be lost) come
    from your code, importable from the current directory. A recipe is a YAML
    list of passes:

        - Prune: {amount: 0.9}
        - Finetune: {epochs: 2}
        - Cluster: {bits: 5}

    Example:  gossamer compress mynet:build --task mynet:task
                --recipe recipe.yaml -o net.goss --report report.html

    An ONNX file is compressed without your code; quantization needs inputs
    alone, the arrays of an .npz file by the names of the network's inputs:

    Example:  gossamer compress model.onnx --calib inputs.npz
                --recipe int8 -o net.goss
    """
    from gossamer.cli.compress import as_json, check_writable, print_stages, run_compress

    check_writable(output, report)
    result = run_compress(model, task, calib, recipe, checkpoint, seed)
    result.save(output)
    if report is not None:
        result.report(report)
    if json:
        print_json(as_json(result, output, report))
    else:
        print_stages(result, output, results())


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A .goss or .onnx file.")],
    program: Annotated[bool, typer.Option("--program", help="List the operations too.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Run it too: time each step of the engine.")] = False,
    size: Annotated[
        list[str] | None, typer.Option(help="NAME=N, with --plan: an open dimension, else 1.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what a file's bytes are spent on, layer by layer.

    Weights kept, bits per weight and per index before and after entropy
    coding, bytes: the table of the Deep Compression paper. The bytes add up
    to the size of the file. Needs no torch for .goss files.

    Example:  gossamer inspect net.goss
    """
    from gossamer.cli.inspect import Inspection

    inspection = Inspection(file, plan=plan, sizes=_sizes(size or []))
    if json:
        print_json(inspection.as_json())
    else:
        console = results()
        console.print(inspection.as_tables(program=program, width=console.width))


@app.command()
def bench(
    files: Annotated[list[Path], typer.Argument(help=".goss, .onnx and .pt2 (torch.export) files.")],
    batch: Annotated[int, typer.Option(min=1, help="Examples in one run.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each runtime.")] = 1,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Timed runs of each; else some seconds' worth.")
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(help="NAME=N, a dimension that is chosen at run time.")
    ] = None,
    compiled: Annotated[bool, typer.Option("--compiled", help="torch.compile too, for .pt2 files.")] = False,
    json: Json = False,
) -> None:
    """Race files side by side, in every installed runtime that can run them.

    Each runtime has a process of its own; they run in short blocks by turns,
    so that all meet the same clock. Shows median and quartiles, the speed
    relative to the first row (block by block), memory, and how far outputs
    differ.

    Example:  gossamer bench net.goss model.onnx
    """
    from gossamer.cli.bench import Bench, Setting

    setting = Setting(batch, threads, runs, _sizes(size or []), compiled)
    with progress("racing") as advance:
        finished = Bench(files, setting, advance)
    for who, message in finished.failures:
        messages().print(f"left out: {who}: {message}", markup=False)
    if json:
        print_json(finished.as_json())
    else:
        results().print(finished.as_table())


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="A .goss file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .onnx file to write.")],
) -> None:
    """Write a .goss file as ONNX, for other runtimes to run.

    Importing what was written gives the same network again.

    Example:  gossamer export net.goss -o net.onnx
    """
    from gossamer import artifact, onnx
    from gossamer.cli.compress import check_writable
    from gossamer.errors import UnsupportedError
    from gossamer.measure import naming

    if output.suffix != ".onnx":
        raise UnsupportedError(f"{output}: what can be written is ONNX; give a name that ends in .onnx")
    check_writable(output)
    with naming(file):
        program = artifact.read(file)
    onnx.save(program, output)
    messages().print(f"wrote {output}: {output.stat().st_size:,} bytes", markup=False)


def _sizes(pairs: list[str]) -> dict[str, int]:
    sizes = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        if not name or not number.isdecimal() or int(number) < 1:
            raise typer.BadParameter(f"{pair!r} is not NAME=N, as in sequence=128", param_hint="--size")
        sizes[name] = int(number)
    return sizes
