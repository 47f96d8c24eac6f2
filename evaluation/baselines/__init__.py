"""What others did before, run here: the methods that the paper's tables hold SoundNet against.

`command`   the sub-command
`cepstra`   K. J. Piczak's features: what a sound's spectrum is like, 26 numbers
`judging`   a data set, start to finish
`tables`    the results, beside the paper's
"""
