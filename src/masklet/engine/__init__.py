"""The data engine: models propose and verify masks, people correct them, every label can say why it exists.

The unit of work is a pair of an image and a phrase. The ledger (`ledger/`) holds all that is known of it and moves it
from state to state; stages (`stages/`) are pure functions from what the ledger holds to what should be added; the
runner joins both. No stage knows a database, and the runner knows no stage.

Source: SAM 3 paper, section 4 and appendix D (data engine).
"""
