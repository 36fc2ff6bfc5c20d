import dataclasses
import json

import numpy as np
import pytest
from measure_samples import two_layers

from gossamer import artifact
from gossamer.errors import FormatError, InputError
from gossamer.measure import describe_file, layer_measurements, measure_file
from gossamer.weights import Codebook, Dense, Sparse


@pytest.fixture
def network():
    """Two layers, the second's weight a codebook of three values."""
    small = two_layers()
    codebook = Codebook(
        np.arange(64, dtype=np.uint8).reshape(4, 16) % 3, np.array([-1.0, 0.5, 2.0], dtype=np.float32)
    )
    return dataclasses.replace(small, weights={**small.weights, "w2": codebook})


def test_bytes_add_up(network, tmp_path):
    path = tmp_path / "n.goss"
    artifact.write(network, path)
    measured, described = measure_file(path), describe_file(path)
    assert measured.file_bytes == path.stat().st_size
    assert measured.file_bytes == described.overhead_bytes + sum(layer.bytes for layer in measured.layers)


def test_layers_come_in_the_order_of_use_with_their_values(network):
    first, bias, second, _ = layer_measurements(artifact.pack(network))
    assert [first.name, bias.name, second.name] == ["w1", "b1", "w2"]
    kept = np.asarray(network.weights["w1"].values.values)
    edges, counts = first.histogram
    assert sum(counts) == first.kept == len(kept)
    assert (edges[0], edges[-1]) == (float(kept.min()), float(kept.max()))
    assert second.centroids == (-1.0, 0.5, 2.0)
    assert second.centroid_counts == (22, 21, 21)
    assert first.representation == "Sparse(Dense)"


def test_parameters_are_not_shapes(network):
    from gossamer.artifact import Operation

    reshape = Operation("Reshape", ("y", "shape"), ("z",))
    shaped = dataclasses.replace(
        network,
        operations=(*network.operations, reshape),
        outputs=(dataclasses.replace(network.outputs[0], name="z"),),
        weights={**network.weights, "shape": Dense(np.array([-1, 4]))},
    )
    measured = measure_file(artifact.pack(shaped))
    assert measured.parameters == 16 * 8 + 16 + 64 + 4
    assert "shape" not in [layer.name for layer in measured.layers]


def test_is_json(network):
    measured = measure_file(artifact.pack(network), metric=0.5)
    assert json.loads(json.dumps(dataclasses.asdict(measured)))["metric"] == 0.5


def test_a_weight_without_anything_left():
    small = two_layers(zeros=1.1)
    assert isinstance(small.weights["w1"], Sparse)
    layer = layer_measurements(artifact.pack(small))[0]
    assert (layer.kept, layer.histogram, layer.macs_executed) == (0, None, 0)


def test_an_onnx_file_is_measured_in_the_same_terms(network, tmp_path):
    onnx = pytest.importorskip("onnx")
    from gossamer.onnx import save

    path = tmp_path / "n.onnx"
    save(network, path)
    measured, ours = measure_file(path), measure_file(artifact.pack(network))
    assert measured.file_bytes == path.stat().st_size
    tensors = {tensor.name: tensor.ByteSize() for tensor in onnx.load(path).graph.initializer}
    assert {layer.name: layer.bytes for layer in measured.layers} == tensors
    assert (measured.parameters, measured.macs) == (ours.parameters, ours.macs)
    assert measured.parameters_kept == ours.parameters_kept


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("absent.goss", None, InputError, "absent.goss is not there"),
        ("text.goss", b"hello, world", FormatError, "text.goss: 12 bytes"),
        ("text.onnx", b"hello, world", FormatError, "text.onnx"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, error, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        measure_file(tmp_path / name)
