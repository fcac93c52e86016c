"""World models: how they predict, how they learn, and when a new one may go live."""
