"""Networks of keras.applications and from files, with weights drawn at random and saved here."""

from __future__ import annotations

import hashlib
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from teacher import TeacherError, TeacherSpec, describe, load, parse_spec

FRAMES = [
    np.random.default_rng(number).integers(0, 256, (60 + number, 90, 3), np.uint8)
    for number in range(3)
]


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory):
    """A MobileNet of 5 classes with random weights, saved in both of Keras's formats."""
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    keras.utils.set_random_seed(5)
    model = keras.applications.MobileNet(weights=None, classes=5)
    folder = tmp_path_factory.mktemp("mobilenet")
    model.save_weights(folder / "net.weights.h5")
    # The format of the files that Keras downloads; no public function writes it any more.
    import h5py

    with h5py.File(folder / "net.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    (folder / "classes.txt").write_text("a\nb\nc\nd\ne\n")
    return model, folder


@pytest.mark.parametrize("file", ["net.weights.h5", "net.h5"])
def test_a_network_of_keras_says_what_it_says_by_itself(mobilenet, file: str) -> None:
    import keras

    model, folder = mobilenet
    teacher = load(
        parse_spec(f"five=MobileNet,weights={folder / file},classes={folder / 'classes.txt'}")
    )
    batch = teacher.preprocess(FRAMES)
    assert batch.shape == (3, 224, 224, 3)
    raw = np.round((batch + 1) * 127.5)
    expected = model(keras.applications.mobilenet.preprocess_input(raw.copy()), training=False)
    np.testing.assert_allclose(teacher(FRAMES), expected, atol=1e-6)
    assert teacher.info.sha256 == hashlib.sha256((folder / file).read_bytes()).hexdigest()
    assert (teacher.info.network, teacher.classes) == ("MobileNet", list("abcde"))
    assert "bilinear, RGB, x / 127.5 - 1" in teacher.info.preprocessing


def test_weights_that_do_not_fit_are_refused(mobilenet) -> None:
    _, folder = mobilenet
    with pytest.raises(TeacherError, match="doesn't fit MobileNet with 1000 classes"):
        load(parse_spec(f"imagenet=MobileNet,weights={folder / 'net.weights.h5'}"))
    with pytest.raises(TeacherError, match="know 1000 classes and places365 names 365"):
        load(parse_spec("places=MobileNet,classes=places365"))
    with pytest.raises(TeacherError, match="can't be read"):
        load(parse_spec("imagenet=MobileNet,weights=/none/net.weights.h5"))


def test_a_download_that_fails_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing listens on the proxy's port, so the connection is refused."""
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)
    with pytest.raises(
        TeacherError, match=r"couldn't get the ImageNet weights of MobileNet.*weights=FILE\.h5.*URL"
    ):
        load(parse_spec("imagenet=MobileNet"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of small networks: 3 classes, as probabilities and as logits, and a class list."""
    import keras

    folder = tmp_path_factory.mktemp("small")
    (folder / "classes.txt").write_text("robin\nwren\nowl\n")
    keras.utils.set_random_seed(3)

    def network(activation: str | None, size: int | None) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((size, size, 3)),
                keras.layers.Conv2D(4, 3, activation="relu"),
                keras.layers.GlobalMaxPooling2D(),
                keras.layers.Dense(3, activation=activation),
            ]
        )

    probs, logits = network("softmax", 32), network(None, 32)
    logits.set_weights(probs.get_weights())
    probs.save(folder / "probs.keras")
    logits.save(folder / "logits.keras")
    network("softmax", None).save(folder / "any_size.keras")
    probs.export(folder / "saved", verbose=False)
    return folder


def spec(small: Path, file: str, **options: object) -> TeacherSpec:
    fields = {"classes": str(small / "classes.txt"), "preprocessing": "tf", **options}
    return TeacherSpec("birds", str(small / file), **fields)


def test_files_of_every_kind_say_the_same(small: Path) -> None:
    probs = load(spec(small, "probs.keras"))(FRAMES)
    logits = load(spec(small, "logits.keras", outputs="logits"))(FRAMES)
    saved = load(spec(small, "saved", size=32))(FRAMES)
    assert np.ptp(probs, axis=0).max() > 0.01  # it does look at the pictures
    np.testing.assert_allclose(logits, probs, atol=1e-6)
    np.testing.assert_allclose(saved, probs, atol=1e-6)


def embedder(small: Path, file: str, **options: object) -> TeacherSpec:
    return TeacherSpec(
        "looks", str(small / file), preprocessing="tf", outputs="embedding", **options
    )


def test_an_embedding_is_what_the_last_layer_hears(small: Path) -> None:
    """The last layer, applied to it here, gives what the whole network says."""
    import keras

    teacher = load(embedder(small, "probs.keras"))
    values = teacher(FRAMES)
    assert values.shape == (3, 4)
    assert (teacher.info.target, teacher.classes[3]) == ("embedding", "value 3")
    kernel, bias = keras.saving.load_model(small / "probs.keras").layers[-1].get_weights()
    expected = load(spec(small, "probs.keras"))(FRAMES)
    np.testing.assert_allclose(keras.ops.softmax(values @ kernel + bias), expected, atol=1e-6)
    with pytest.raises(TeacherError, match="SavedModel can't be told apart"):
        load(embedder(small, "saved", size=32))
    flat = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(name="all")])
    flat.add(keras.layers.Dense(2))
    flat.save(small / "flat.keras")
    assert load(embedder(small, "flat.keras"))(FRAMES).shape == (3, 32 * 32 * 3)
    keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(2, 3)]).save(
        small / "one.keras"
    )
    with pytest.raises(TeacherError, match="no layer before its last one.*hears the picture"):
        load(embedder(small, "one.keras"))


def test_an_embedding_of_a_network_of_keras(mobilenet) -> None:
    """Its last layer with weights is a convolution over a picture of 1 x 1."""
    import keras

    model, folder = mobilenet
    text = f"looks=MobileNet,weights={folder / 'net.h5'},classes={folder / 'classes.txt'}"
    values = load(parse_spec(f"{text},outputs=embedding"))(FRAMES)
    assert values.shape == (3, 1024)
    kernel, bias = model.get_layer("conv_preds").get_weights()
    expected = load(parse_spec(text))(FRAMES)
    found = keras.ops.softmax(values @ kernel[0, 0] + bias)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_a_data_set_says_of_a_file(small: Path) -> None:
    info = describe(spec(small, "probs.keras"))
    assert (info.name, info.network, info.classes) == (
        "birds",
        "probs.keras",
        ["robin", "wren", "owl"],
    )
    assert info.sha256 == hashlib.sha256((small / "probs.keras").read_bytes()).hexdigest()
    before = describe(spec(small, "saved", size=32)).sha256
    (small / "saved" / "assets").mkdir(exist_ok=True)
    (small / "saved" / "assets" / "more.txt").write_text("more")
    assert describe(spec(small, "saved", size=32)).sha256 != before


@pytest.mark.parametrize(
    ("file", "options", "says"),
    [
        ("logits.keras", {}, "not probabilities; .* outputs=logits"),
        ("probs.keras", {"outputs": "logits"}, "probabilities already"),
        ("probs.keras", {"classes": "places365"}, "3.* outputs a picture .* 365 names"),
        ("probs.keras", {"classes": "none.txt"}, "imagenet1000, places365, places401"),
        ("probs.keras", {"size": 64}, "wants pictures of 32 pixels"),
        ("any_size.keras", {}, "give size=PIXELS"),
        ("saved", {}, "give size=PIXELS"),
        ("saved", {"size": 31}, "doesn't take pictures of 31 pixels"),
        ("none.keras", {}, "can't be read"),
        ("classes.txt", {}, "can't be loaded as a .keras file or a SavedModel folder"),
    ],
)
def test_what_does_not_fit_is_told(small: Path, file: str, options: dict, says: str) -> None:
    with pytest.raises(TeacherError, match=says):
        load(spec(small, file, **options))


def test_a_network_that_is_not_one_of_pictures_is_refused(small: Path) -> None:
    import keras

    keras.Sequential([keras.Input((10,)), keras.layers.Dense(3)]).save(small / "table.keras")
    with pytest.raises(TeacherError, match="square RGB pictures"):
        load(spec(small, "table.keras"))


def test_code_in_a_keras_file_is_not_run(small: Path) -> None:
    import keras

    inputs = keras.Input((32, 32, 3))
    trace = str(small / "trace")
    outputs = keras.layers.Lambda(lambda x: open(trace, "w") and x[:, 0, 0])(inputs)  # noqa: SIM115
    keras.Model(inputs, outputs).save(small / "lambda.keras")
    Path(trace).unlink()
    with pytest.raises(TeacherError, match="can't be loaded.*[Ll]ambda"):
        load(spec(small, "lambda.keras"))
    assert not Path(trace).exists()


def test_outputs_that_are_not_finite_are_refused(small: Path) -> None:
    import keras

    model = keras.saving.load_model(small / "probs.keras")
    model.set_weights([np.full_like(array, np.nan) for array in model.get_weights()])
    model.save(small / "broken.keras")
    with pytest.raises(TeacherError, match="aren't finite"):
        load(spec(small, "broken.keras"))


def test_a_network_that_mixes_a_batch_sees_one_frame_at_a_time(small: Path) -> None:
    import keras

    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalMaxPooling2D()(inputs)
    outputs = keras.ops.softmax(keras.ops.cumsum(x, axis=0))
    keras.Model(inputs, outputs).save(small / "mixing.keras")
    teacher = load(spec(small, "mixing.keras"))
    assert teacher.batch == 1
    alone = np.concatenate([teacher([frame]) for frame in FRAMES])
    np.testing.assert_array_equal(teacher(FRAMES), alone)
