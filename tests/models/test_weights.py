import itertools
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from safetensors import numpy as safetensors_numpy

from cnnjax.errors import UsageError
from cnnjax.models import MODELS, weights


def tree(**changes):
    params = {
        "stem": {"kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3)},
        "head": {"bias": np.ones(3, np.float32)},
    }
    return {"params": params | changes, "batch_stats": {"mean": np.float32([1, 2])}}


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "weights.safetensors"
    weights.save(path, tree(), metadata={"model": "lenet"})
    assert_equal(weights.load(path), tree())
    assert_equal(weights.load(path, like=tree()), tree())
    assert weights.metadata(path) == {"model": "lenet"}
    assert list(tmp_path.iterdir()) == [path]


def test_variables_of_a_model_come_back(tmp_path):
    model, images = MODELS["resnet9"](classes=2, width=0.02), jnp.zeros((1, 8, 8, 1))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    variables = jax.tree.map(lambda x: jnp.full(x.shape, x.size, x.dtype), shapes)
    weights.save(tmp_path / "w.safetensors", variables)
    assert_equal(weights.load(tmp_path / "w.safetensors"), variables)
    assert weights.metadata(tmp_path / "w.safetensors") == {}


def test_scalars_stay_scalars(tmp_path):
    weights.save(tmp_path / "w.safetensors", {"a": np.float32(3)})
    assert weights.load(tmp_path / "w.safetensors")["a"].shape == ()


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path):
    path = tmp_path / "w.safetensors"
    weights.save(path, tree(), metadata={"model": "lenet"})
    content = path.read_bytes()
    header = content.index(b"}}") + 2
    spread = (*range(0, header, 9), *range(header, len(content)))
    refused = []
    for place, bit in zip(spread, itertools.cycle(range(8)), strict=False):
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        try:
            loaded = weights.load(path)
        except UsageError as error:
            refused.append(str(error))
        else:
            assert_equal(loaded, tree())
    assert len(refused) > 0.9 * len(spread)
    assert all(line.startswith(f"{path}: not a whole") for line in refused)
    assert "\n" not in "".join(refused)


def test_a_file_of_others_has_no_sum_and_is_taken(tmp_path):
    arrays = {"a": np.float32([1, 2]), "b": np.ones(3, "bfloat16")}
    safetensors_numpy.save_file(arrays, tmp_path / "w.safetensors", {"of": "others"})
    assert_equal(weights.load(tmp_path / "w.safetensors"), arrays)


# A header of so many bytes, of no type that NumPy has, and of more than there is.
LYING = [
    (2**40, b"{}"),
    (None, b'{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}'),
    (None, b'{"a":{"dtype":"F32","shape":[99],"data_offsets":[0,4]}}'),
    (None, b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,400]}}'),
]


@pytest.mark.parametrize(("size", "header"), LYING)
def test_refuses_a_header_that_lies(tmp_path, size, header):
    content = (size or len(header)).to_bytes(8, "little") + header + b"\0" * 4
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(UsageError, match=r"w.safetensors: not a whole") as caught:
        weights.load(tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
@pytest.mark.parametrize("name", ["w.safetensors", "w.npz"])
def test_refuses_what_is_no_file(tmp_path, make, name):
    make(tmp_path / name)
    with pytest.raises(UsageError, match=f"{name}: it is no file"):
        weights.load(tmp_path / name)


def test_names_are_paths(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, **{"conv/weight": np.ones((2, 1)), "conv/bias": np.zeros(2)})
    expected = {"conv": {"weight": np.ones((2, 1)), "bias": np.zeros(2)}}
    assert_equal(weights.load(path), expected)


def test_a_save_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    weights.save(path, tree())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        weights.save(path, tree(head={"bias": np.zeros(3, np.float32)}))
    assert_equal(weights.load(path), tree())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz"])
@pytest.mark.parametrize("keep", [0, 3, 20, 100, -1])
def test_refuses_a_file_that_was_cut_short(tmp_path, name, keep):
    path = tmp_path / name
    if name.endswith("npz"):
        np.savez(path, a=np.ones(100))
    else:
        weights.save(path, tree())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        UsageError, match=f"{name}: not a whole safetensors, npz or ONNX file"
    ):
        weights.load(path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz"])
def test_refuses_a_file_of_something_else_in_one_line(tmp_path, name):
    (tmp_path / name).write_text("I am\nno weights.\n" * 20)
    with pytest.raises(UsageError, match="not a whole") as refusal:
        weights.load(tmp_path / name)
    assert "\n" not in str(refusal.value)


def test_refuses_a_file_that_is_not_there(tmp_path):
    for read in (weights.load, weights.metadata):
        with pytest.raises(UsageError, match=r"none.safetensors: no such file"):
            read(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stem": {}}, "w.safetensors: params/stem/kernel is missing"),
        ({"extra": np.ones(1)}, "w.safetensors: params/extra has no place"),
        (
            {"stem": {"kernel": np.ones((3, 2))}},
            r"params/stem/kernel must have the shape \(2, 3\), got \(3, 2\)",
        ),
    ],
)
def test_refuses_other_arrays_than_the_model_has(tmp_path, changes, message):
    weights.save(tmp_path / "w.safetensors", tree(**changes))
    with pytest.raises(UsageError, match=message):
        weights.load(tmp_path / "w.safetensors", like=tree())


def test_refuses_a_name_that_is_array_and_folder(tmp_path):
    np.savez(tmp_path / "w.npz", **{"a": np.ones(1), "a/b": np.ones(1)})
    with pytest.raises(
        UsageError, match=r"w.npz: a in a/b is an array and a folder too"
    ):
        weights.load(tmp_path / "w.npz")


def test_refuses_a_slash_in_a_name(tmp_path):
    with pytest.raises(ValueError, match="must not contain a slash, got 'a/b'"):
        weights.save(tmp_path / "w.safetensors", {"a/b": np.ones(1)})


def test_merge_takes_what_fits_and_names_the_rest():
    loaded = tree(head={"bias": np.zeros(5)}, old=np.zeros(1))
    loaded["params"]["stem"] = {"kernel": np.full((2, 3), 7, np.float64)}
    merged, skipped = weights.merge(tree(), loaded)
    expected = tree(stem={"kernel": np.full((2, 3), 7, np.float32)})
    assert_equal(merged, expected)
    assert merged["params"]["stem"]["kernel"].dtype == np.float32
    assert skipped == ["params/head/bias", "params/old"]


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_merge_takes_floating_point_numbers_of_any_precision(dtype):
    ours, theirs = {"a": np.zeros(2, np.float32)}, {"a": np.ones(2, dtype)}
    merged, skipped = weights.merge(ours, theirs)
    assert_equal(merged, {"a": np.ones(2, np.float32)})
    assert merged["a"].dtype == np.float32
    assert not skipped


@pytest.mark.parametrize(
    "dtype",
    ["int8", "int64", "?", "complex64", "S3", "U3", "M8[D]", "m8[s]", "V4", "f4,f4"],
)
def test_merge_refuses_what_is_no_floating_point_number(tmp_path, dtype):
    np.savez(tmp_path / "w.npz", a=np.zeros(2, dtype))
    loaded = weights.load(tmp_path / "w.npz")
    message = r"^a to start from must hold floating-point.* got .*; convert the file"
    with pytest.raises(UsageError, match=message):
        weights.merge({"a": np.zeros(2, np.float32)}, loaded)


def test_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.array([print], object))
    with pytest.raises(UsageError, match=r"w.npz: not a whole .*Object arrays"):
        weights.load(tmp_path / "w.npz")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_merge_refuses_numbers_that_are_not_finite(value):
    ours, theirs = {"a": np.zeros(2, np.float32)}, {"a": np.array([0, value])}
    with pytest.raises(
        UsageError, match="a to start from holds numbers that are not fi"
    ):
        weights.merge(ours, theirs)


def test_merge_refuses_when_nothing_fits():
    with pytest.raises(
        UsageError, match=r"None of the arrays .* batch_stats/mean.* have b"
    ):
        weights.merge(tree(), {"b": {"c": np.ones(1)}})


def onnx_file(path, arrays):
    graph = onnx.helper.make_graph(
        [],
        "net",
        [],
        [],
        [onnx.numpy_helper.from_array(x, name) for name, x in arrays.items()],
    )
    onnx.save(onnx.helper.make_model(graph), path)
    return path


def test_reads_the_weights_of_an_onnx_file(tmp_path):
    arrays = {
        "conv1.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "bn1.num_batches_tracked": np.int64(3),
    }
    read, words = weights.read(onnx_file(tmp_path / "w.onnx", arrays))
    assert_equal(read, arrays)
    assert words == {}


def test_refuses_an_onnx_file_that_is_cut_short_or_lies(tmp_path):
    path = onnx_file(tmp_path / "w.onnx", {"a": np.ones(9, np.float32)})
    content = path.read_bytes()
    model = onnx.load_from_string(content)
    model.graph.initializer[0].dims[0] = 10**12
    for damaged in (b"", content[:-9], model.SerializeToString()):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=r"w.onnx: not a whole") as refusal:
            weights.read(path)
        assert "\n" not in str(refusal.value)


def test_refuses_an_onnx_file_whose_weights_are_elsewhere(tmp_path):
    path = onnx_file(tmp_path / "w.onnx", {"a": np.ones(9, np.float32)})
    model = onnx.load(path)
    onnx.external_data_helper.set_external_data(
        model.graph.initializer[0], location="/etc/passwd"
    )
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match=r"w.onnx: a is in another file; save"):
        weights.read(path)


def test_names_the_package_that_reads_onnx(tmp_path, monkeypatch):
    path = onnx_file(tmp_path / "w.onnx", {"a": np.ones(9, np.float32)})
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"needs the package onnx.*pip install onnx"):
        weights.read(path)
