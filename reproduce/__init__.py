"""The whole way at laptop size: videos in, a data set, a trained network, what it is worth.

It only runs the project's own commands, and prints each as one would type it.
"""
