"""Generation with vLLM: an engine in processes of its own, fed from whatever event loop asks.

`engine.py` is what callers see; `start.py` brings vLLM up and says why when it does not come;
`token_picker.py`, `transfer.py` and `worker.py` run inside vLLM's processes. Nothing here imports
vLLM until an engine is made.
"""
