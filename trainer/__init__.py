"""What learns: TFRecords in, weights out (Keras; `python -m trainer.task`).

`network`   SoundNet-8, SoundNet-5 and a deeper one as tables of layers, and the times of outputs
`layers`    batch normalisation, fused where the backend is TensorFlow
`losses`    how far a student is from its teachers
`config`    every setting of a run; the defaults are the published recipe
`data`      records as batches, in an order that the seed and the position alone decide
`augment`   what is heard of a clip and what the outputs are told: aligned, cropped, mixed
`train`     the training, from top to bottom
`averaging` a running mean of the weights
`progress`  what a person watches, and what is kept of it
`export`    a network as `.keras`, SavedModel, LiteRT and ONNX
`load`      a `.keras` file that may come from anywhere
`task`      the command
`claim`     whose run's folder it is
`folder`    one process at a time in a folder
`supervised`  training with labels: fine-tuning, and from scratch
`autoencoder` the paper's baseline, which learns to repeat what it hears
"""
