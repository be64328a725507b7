"""The only door to the network: an address becomes verified bytes, or an error that says why not.

door.py is the door itself; reply.py judges what comes through it, parts.py keeps what came of a long reply,
politeness.py says how often a host is asked, wire.py which addresses are called and how long they may take. Nothing
else in tuningfork opens a socket.
"""

from .door import Fetched, Limits, Network
from .reply import ReplyError

__all__ = ["Fetched", "Limits", "Network", "ReplyError"]
