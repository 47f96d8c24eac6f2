"""The paper's baseline without teachers: a network that hears a sound, and repeats it.

`network`  the encoder, SoundNet-8's first layers, and the decoder that undoes them
`config`   every setting of a run
`train`    the training, from top to bottom
"""
