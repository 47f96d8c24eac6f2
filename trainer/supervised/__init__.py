"""Training with labels: a list of audio files in, a network that names them out.

`config`    every setting of such a run; the defaults are the authors' fine-tuning
`listing`   the CSV of files and labels
`sounds`    the files, decoded once
`train`     the training, one network for each part that is held out
`judgement` what the networks say of what was held out: accuracy, confusion matrix
"""
