"""What a dispatcher should lose, refuse and manage; one file per kind of trouble.

``queue`` is the model of the dispatcher itself; the others say what a fault does to it.
"""
