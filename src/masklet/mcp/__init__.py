"""masklet as tools for other people's language models: the Model Context Protocol, and plain tool schemas.

`requests.py` holds a type a tool, from which both kinds of schema come; `toolbox.py` does what is asked; `server.py`
speaks the protocol.
"""
