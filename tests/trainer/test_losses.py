"""The losses against the published scaling, computed with NumPy."""

import numpy as np
import pytest

from trainer import losses


def softmax(logits: np.ndarray) -> np.ndarray:
    values = np.exp(logits - logits.max(-1, keepdims=True))
    return values / values.sum(-1, keepdims=True)


def a_batch() -> tuple[dict, dict]:
    random = np.random.default_rng(0)
    targets, logits = {}, {}
    for name, classes in (("imagenet", 1000), ("places", 401)):
        targets[name] = softmax(random.normal(0, 3, (3, 4, classes))).astype("float32")
        logits[name] = random.normal(0, 1, (3, 4, classes)).astype("float32")
    return targets, logits


def test_the_published_scaling():
    """Authors' `main_train.lua`: a criterion for each of 4 steps x 2 teachers, each averaged over
    batch and classes; their mean times 250."""
    targets, logits = a_batch()
    terms = {}
    for name, probs in targets.items():
        terms[name] = []
        for step in range(4):
            t, p = probs[:, step].astype("float64"), softmax(logits[name][:, step])
            terms[name].append((t * (np.log(t) - np.log(p))).sum() / t.size)
    expected = 250 * np.mean([*terms["imagenet"], *terms["places"]])
    loss, by_teacher = losses.distillation_loss(targets, logits)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(by_teacher["places"]) == pytest.approx(250 * np.mean(terms["places"]), rel=1e-5)


def test_certain_teachers_and_a_network_that_knows_nothing():
    """One-hot targets, uniform predictions: 250 * (ln 1000 / 1000 + ln 401 / 401) / 2."""
    targets = {n: np.eye(c, dtype="float32")[:8].reshape(2, 4, c) for n, c in SIZES.items()}
    logits = {n: np.zeros((2, 4, c), "float32") for n, c in SIZES.items()}
    loss, _ = losses.distillation_loss(targets, logits)
    assert float(loss) == pytest.approx(2.73, abs=0.01)


SIZES = {"imagenet": 1000, "places": 401}


def test_kl_is_zero_for_the_teachers_own_words_and_never_negative():
    targets, logits = a_batch()
    same = losses.kl(targets["places"], np.log(targets["places"]))
    np.testing.assert_allclose(same, 0, atol=1e-5)
    assert np.min(losses.kl(targets["places"], logits["places"])) > 0


def test_kl_of_classes_that_the_teacher_rules_out_is_finite():
    value = losses.kl(np.array([1.0, 0.0], "float32"), np.array([0.0, -1e4], "float32"))
    assert float(value) == pytest.approx(0)


def test_l2_is_the_squared_distance_of_the_distributions():
    targets, logits = a_batch()
    expected = ((targets["places"] - softmax(logits["places"])) ** 2).sum(-1)
    np.testing.assert_allclose(losses.l2(targets["places"], logits["places"]), expected, rtol=1e-4)
    loss, _ = losses.distillation_loss(targets, logits, "l2", scale=1.0)
    both = [((targets[n] - softmax(logits[n])) ** 2).mean() for n in targets]
    assert float(loss) == pytest.approx(np.mean(both), rel=1e-4)


def test_embeddings_teach_by_their_angle_or_their_distance():
    random = np.random.default_rng(1)
    t, s = (random.normal(0, 2, (3, 4, 16)).astype("float32") for _ in range(2))
    cosines = (t * s).sum(-1) / np.linalg.norm(t, axis=-1) / np.linalg.norm(s, axis=-1)
    np.testing.assert_allclose(losses.cosine(t, s), cosines, rtol=1e-4)
    np.testing.assert_allclose(losses.cosine_distance(t, 7 * t), 0, atol=1e-6)
    squares = ((t - s) ** 2).sum(-1)
    np.testing.assert_allclose(losses.squared_distance(t, s), squares, rtol=1e-5)
    targets, logits = a_batch()
    _, published = losses.distillation_loss(targets, logits)
    for kind, expected in (("cosine", 1 - cosines), ("l2", squares)):
        total, terms = losses.distillation_loss(
            {**targets, "looks": t}, {**logits, "looks": s}, "kl", 250.0, {"looks"}, kind
        )
        assert float(terms["looks"]) == pytest.approx(250 * expected.mean() / 16, rel=1e-4)
        assert float(terms["places"]) == float(published["places"])
        assert float(total) == pytest.approx(np.mean([float(v) for v in terms.values()]), rel=1e-5)


def test_what_does_not_fit_is_refused():
    targets, logits = a_batch()
    with pytest.raises(ValueError, match=r"teachers \['places'\] can't teach"):
        losses.distillation_loss({"places": targets["places"]}, logits)
    with pytest.raises(ValueError, match="places: labels of shape"):
        losses.distillation_loss(targets, {**logits, "places": logits["places"][:, :1]})


def test_agreement():
    targets = np.eye(8, dtype="float32")[[3, 3]][None]  # both steps: class 3
    logits = np.array([[[0, 1, 2, 9, 4, 5, 6, 7], [9, 8, 7, 6, 5, 4, 3, 2]]], "float32")
    np.testing.assert_array_equal(losses.agreement(targets, logits, 1), [[1, 0]])
    np.testing.assert_array_equal(losses.agreement(targets, logits, 5), [[1, 1]])
    np.testing.assert_array_equal(losses.agreement(targets, logits, 3), [[1, 0]])
    assert float(np.mean(losses.agreement(targets[..., :4], logits[..., :4], 5))) == 1
