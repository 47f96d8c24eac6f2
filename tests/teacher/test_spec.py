"""Teachers as text: what can be said, and what a mistake is answered with."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from teacher import SPEC_HELP, TeacherError, TeacherSpec, parse_spec


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("imagenet", TeacherSpec("imagenet", "efficientnet_lite0")),
        ("places", TeacherSpec("places", "squeezenet_places365")),
        ("imagenet=VGG16", TeacherSpec("imagenet", "VGG16")),
        (
            "places=squeezenet_places365,weights=/dir/file.keras",
            TeacherSpec("places", "squeezenet_places365", weights="/dir/file.keras"),
        ),
        (
            "places=VGG16,weights=vgg.h5,classes=places401",
            TeacherSpec("places", "VGG16", weights="vgg.h5", classes="places401"),
        ),
        (
            "birds=/path/net.keras, classes=/path/classes.txt, preprocessing=tf, size=224",
            TeacherSpec(
                "birds",
                "/path/net.keras",
                classes="/path/classes.txt",
                preprocessing="tf",
                size=224,
            ),
        ),
        (
            "x=./saved,classes=c.txt,preprocessing=raw,outputs=logits",
            TeacherSpec("x", "./saved", classes="c.txt", preprocessing="raw", outputs="logits"),
        ),
        (
            "looks=VGG16,outputs=embedding",
            TeacherSpec("looks", "VGG16", outputs="embedding"),
        ),
        (
            "looks=./net.keras,preprocessing=raw,outputs=embedding",
            TeacherSpec("looks", "./net.keras", preprocessing="raw", outputs="embedding"),
        ),
    ],
)
def test_the_grammar(text: str, spec: TeacherSpec) -> None:
    assert parse_spec(text) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301 (bytes made here)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("flowers", "There are imagenet, places"),
        ("imagenet=VGG99", "efficientnet_lite0, squeezenet_places365, ResNet50"),
        ("imagenet=VGG16,wieghts=a.h5", "'wieghts=a.h5' is not one of weights=, classes="),
        ("imagenet=VGG16,weights=", "with a value"),
        ("imagenet=VGG16,weights=a,weights=b", "each once"),
        ("imagenet=VGG16,size=224", "VGG16 takes no size; it takes classes, weights"),
        ("imagenet,classes=places365", "efficientnet_lite0 takes no classes; it takes weights"),
        ("birds=/path/net.keras", "needs classes=LIST and preprocessing="),
        ("birds=/n.keras,classes=c,preprocessing=vgg", "efficientnet_lite, caffe, tf, torch, raw"),
        ("birds=/n.keras,classes=c,preprocessing=tf,size=big", "not a number of pixels"),
        ("birds=/n.keras,classes=c,preprocessing=tf,size=0", "1 to 4096"),
        ("birds=/n.keras,classes=c,preprocessing=tf,outputs=odds", "probs, logits, embedding"),
        ("imagenet=VGG16,outputs=logits", "VGG16 takes no outputs"),
        ("x=./n.keras,classes=c,preprocessing=tf,outputs=embedding", "takes no classes"),
        ("a/b=VGG16", "letters, digits and _"),
        ("", "There are imagenet, places"),
    ],
)
def test_a_mistake_is_told_what_there_is(text: str, says: str) -> None:
    with pytest.raises(TeacherError) as error:
        parse_spec(text)
    assert says in str(error.value)


def test_every_example_of_the_help_is_read() -> None:
    examples = SPEC_HELP.split("Examples:")[1].split()
    assert len(examples) == 5
    for example in examples:
        assert parse_spec(example).name in ("imagenet", "places", "birds", "looks")


def test_the_command_line_needs_no_tensorflow() -> None:
    code = (
        "import sys, teacher; teacher.parse_spec('imagenet=ResNet50');"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
