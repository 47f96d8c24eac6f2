"""`tf.train.Example` without TensorFlow, whose import takes seconds in every worker process.

The messages are those of tensorflow/core/example/example.proto and feature.proto. They live in a
descriptor pool of their own, so that they and TensorFlow's can be in one process.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PROTO = """
BytesList: value = 1 repeated bytes
FloatList: value = 1 repeated float
Int64List: value = 1 repeated int64
Feature: bytes_list = 1 BytesList; float_list = 2 FloatList; int64_list = 3 Int64List
Features: feature = 1 map Feature
Example: features = 1 Features
"""
_SCALARS = {"bytes": "TYPE_BYTES", "float": "TYPE_FLOAT", "int64": "TYPE_INT64"}


def _messages() -> dict[str, type[Any]]:
    """The message classes by name."""
    file = descriptor_pb2.FileDescriptorProto(
        name="example.proto", package="tensorflow", syntax="proto3"
    )
    kind = descriptor_pb2.FieldDescriptorProto
    for line in _PROTO.strip().splitlines():
        name, fields = line.split(": ")
        message = file.message_type.add(name=name)
        if name == "Feature":
            message.oneof_decl.add(name="kind")
        for text in fields.split("; "):
            field, _, number, *how, type_ = text.split()
            added = message.field.add(name=field, number=int(number), label=kind.LABEL_OPTIONAL)
            if how:
                added.label = kind.LABEL_REPEATED
            if type_ in _SCALARS:
                added.type = kind.Type.Value(_SCALARS[type_])
            else:
                added.type, added.type_name = kind.TYPE_MESSAGE, f".tensorflow.{type_}"
            if name == "Feature":
                added.oneof_index = 0
            if how == ["map"]:
                entry = message.nested_type.add(name="FeatureEntry")
                entry.options.map_entry = True
                entry.field.add(
                    name="key", number=1, label=kind.LABEL_OPTIONAL, type=kind.TYPE_STRING
                )
                entry.field.add(
                    name="value",
                    number=2,
                    label=kind.LABEL_OPTIONAL,
                    type=kind.TYPE_MESSAGE,
                    type_name=".tensorflow.Feature",
                )
                added.type_name = ".tensorflow.Features.FeatureEntry"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"tensorflow.{message.name}")
        )
        for message in file.message_type
    }


Example = _messages()["Example"]
"""The message class `tf.train.Example`."""
