"""Convolutions in the engine: transposed ones against torch; the way to compute one, by rule and by measurement."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engine_programs import floats, program

from gossamer import Engine, _native
from gossamer.errors import FormatError

ISAS = _native.machine_isas()

# input, weights (C, O / groups, kernel), attributes as torch and as ONNX have them
TRANSPOSED = [
    ((2, 3, 5, 6), (3, 4, 3, 3), {}),
    ((1, 8, 9, 9), (8, 20, 4, 4), {"stride": (2, 2), "padding": (1, 1)}),
    ((1, 6, 4, 5), (6, 2, 3, 3), {"stride": (2, 3), "output_padding": (1, 2), "groups": 3}),
    ((2, 4, 6, 6), (4, 5, 2, 3), {"dilation": (2, 3), "stride": (3, 1), "padding": (1, 0)}),
    ((3, 5, 11), (5, 7, 4), {"stride": (2,), "padding": (1,)}),
    ((1, 33, 1, 1), (33, 17, 7, 7), {}),
]


def onnx_attributes(options):
    names = {"stride": "strides", "dilation": "dilations", "output_padding": "output_padding"}
    attributes = {names[key]: value for key, value in options.items() if key in names}
    attributes["pads"] = tuple(options.get("padding", ())) * 2
    return {key: value for key, value in attributes.items() if value} | {"group": options.get("groups", 1)}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("shape", "weights", "options"), TRANSPOSED)
def test_transposed_convolution(isa, shape, weights, options):
    x, w = floats(1, *shape), floats(2, *weights)
    bias = floats(3, weights[1] * options.get("groups", 1))
    operations = [("ConvTranspose", ["x", "w", "b"], ["y"], onnx_attributes(options))]
    engine = Engine(
        program({"x": (None, *shape[1:])}, operations, ["y"], {"w": w, "b": bias}), isa=isa, threads=2
    )
    function = (
        torch.nn.functional.conv_transpose2d if len(shape) == 4 else torch.nn.functional.conv_transpose1d
    )
    wanted = function(*map(torch.from_numpy, (x, w, bias)), **options).numpy()
    np.testing.assert_allclose(engine(x), wanted, rtol=1e-4, atol=1e-4)
    (step,) = engine.explain()
    assert "col2im/" in step.kernel


@pytest.mark.parametrize(
    "attributes", [{"group": 2}, {"pads": (9, 9, 9, 9)}, {"auto_pad": "SAME"}, {"strides": (0, 1)}]
)
def test_transposed_convolutions_that_cannot_be_are_errors(attributes):
    operations = [("ConvTranspose", ["x", "w"], ["y"], attributes)]
    with pytest.raises(FormatError, match="ConvTranspose"):
        Engine(program({"x": (1, 3, 4, 4)}, operations, ["y"], {"w": floats(1, 3, 2, 3, 3)}))


# --- the way to compute a convolution ---


def convolution(channels, size, kernel, groups=1, **attributes):
    weights = floats(1, channels, channels // groups, kernel, kernel) / np.float32(np.sqrt(channels) * kernel)
    attributes = {"pads": (kernel // 2,) * 4, "group": groups, **attributes}
    return program(
        {"x": (1, channels, size, size)}, [("Conv", ["x", "w"], ["y"], attributes)], ["y"], {"w": weights}
    )


@pytest.mark.parametrize(
    ("net", "kernel"),
    [
        (convolution(64, 28, 3), "winograd"),
        (convolution(64, 28, 3, strides=(2, 2)), "direct"),
        (convolution(64, 7, 1), "direct"),
        (convolution(64, 28, 3, groups=64), "depthwise"),
        (convolution(64, 28, 3, groups=8), "cell_floats"),
        (convolution(64, 28, 1, groups=16), "cell_floats"),
        (convolution(64, 28, 7), "fft"),
        (convolution(16, 40, 21, groups=16), "fft"),
        (convolution(24, 28, 1), "cell_floats"),
        (convolution(2, 9, 2, pads=(0, 0, 0, 0)), "cell_floats"),
        (convolution(8, 56, 3), "cell_floats"),
    ],
)
def test_the_way_that_is_chosen_by_rule(net, kernel):
    assert family(Engine(net, isa=ISAS[-1])).startswith(kernel)


def tuned(net, monkeypatch, cache):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return Engine(net, autotune=True)


def family(engine):
    (step,) = engine.explain()
    return step.kernel.split("/")[0]


def test_a_measured_choice_is_kept(tmp_path, monkeypatch):
    net, x = convolution(32, 14, 3), floats(5, 1, 32, 14, 14)
    engine, exact = tuned(net, monkeypatch, tmp_path), Engine(net)(x)
    assert np.abs(engine(x) - exact).max() < 1e-4 * np.abs(exact).max()  # numerics.md, section 8: any method
    header, line = (tmp_path / "gossamer" / "choices.txt").read_text().splitlines()
    assert header == "gossamer choices 1"
    processor, question, answer = line.split("\t")
    assert processor
    assert question.startswith("conv ")
    assert answer == family(engine)


def test_a_choice_that_is_kept_is_taken_again_without_measuring(tmp_path, monkeypatch):
    net, file = convolution(32, 14, 3), tmp_path / "gossamer" / "choices.txt"
    tuned(net, monkeypatch, tmp_path)
    header, line = file.read_text().splitlines()
    processor, question, _ = line.split("\t")
    taken = set()
    for answer in ("direct", "winograd2", "winograd4", "winograd6"):
        text = f"{header}\nanother processor\t{question}\tx\n{processor}\t{question}\t{answer}\n"
        file.write_text(text)
        engine = tuned(net, monkeypatch, tmp_path)
        if (
            file.read_text() == text
        ):  # else it is far off on this instruction set, and the others were measured
            assert family(engine) == answer
            taken.add(answer)
    assert len(taken) >= 2


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff" * 99, b"gossamer choices 1\nx\n\t\n\t\t\n", b"gossamer choices 9\na\tb\tc\n"]
)
def test_what_is_not_understood_in_the_file_of_choices_is_as_if_it_were_not_there(
    tmp_path, monkeypatch, content
):
    file = tmp_path / "gossamer" / "choices.txt"
    file.parent.mkdir()
    file.write_bytes(content)
    engine = tuned(convolution(32, 14, 3), monkeypatch, tmp_path)
    assert engine.explain()[0].kernel
    assert file.read_text().splitlines()[0] == "gossamer choices 1"


def test_no_place_for_choices_is_no_error(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert tuned(convolution(32, 14, 3), monkeypatch, blocked).explain()
    assert blocked.read_text() == "not a folder"


def test_nothing_is_measured_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("GOSSAMER_AUTOTUNE", raising=False)
    Engine(convolution(32, 14, 3))
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("GOSSAMER_AUTOTUNE", "1")
    Engine(convolution(32, 14, 3))
    assert (tmp_path / "gossamer" / "choices.txt").exists()
