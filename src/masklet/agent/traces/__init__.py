"""What happened during a request: written, run again, and shown as a page."""
