"""A model card: what whoever uses a network must know of it, with its figures.

`command`  the sub-command
`facts`    what the network, its training and its evaluations say
`writing`  the card's sections
"""
