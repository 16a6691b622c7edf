"""The agent: a planner, usually a language model, answers a request about an image with a segmenter as its tool.

Knows a segmenter by its protocol only, and a language model by `llm`. `core.py` is a pure state machine; `episode.py`
does what it asks for.
"""
