"""Questions of images and videos, by the query language or by the agent."""
