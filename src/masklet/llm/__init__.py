"""Language models behind any OpenAI-compatible server: messages, replies read with tolerance, and what a server can do.

Knows no images beyond their bytes and nothing of segmentation; the agent and the data engine bring their own tools.
"""
