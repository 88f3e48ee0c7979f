"""Where Quorate's answers are known not to be etcd's, each with its reason and the very lines that differ.

A case that is here and differs in other lines, or not at all any more, fails as one does that differs and is not here.
"""

from collections import namedtuple

Difference = namedtuple("Difference", "reason etcd quorate")

DIFFERENCES = {}
